//! What `/proc` says about processes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Children of a process, of all its threads.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in threads(pid)? {
        let listed = fs::read_to_string(thread.join("children"))?;
        for child in listed.split_ascii_whitespace() {
            children.push(child.parse()?);
        }
    }
    Ok(children)
}

/// Folders of a process's threads.
pub fn threads(pid: u32) -> Result<Vec<PathBuf>> {
    let directory = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&directory).with_context(|| format!("cannot read {directory}"))?;
    threads.map(|thread| Ok(thread?.path())).collect()
}

/// A field of the `status` file in a folder of a process or a thread.
pub fn status(folder: &Path, field: &str) -> Result<String> {
    let path = folder.join("status");
    let status = fs::read_to_string(&path)?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.with_context(|| format!("{} has no {field}", path.display()))?;
    Ok(value.trim().to_owned())
}

/// Time that a process has run, in user space and in the kernel, in clock ticks.
pub fn ticks(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path)?;
    let (_, rest) = text
        .rsplit_once(')')
        .with_context(|| format!("{path} has no name"))?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || {
        fields
            .next()
            .with_context(|| format!("{path} is too short"))
    };
    Ok(next()?.parse::<u64>()? + next()?.parse::<u64>()?)
}

/// Resident memory in bytes (`VmRSS`).
pub fn resident(pid: u32) -> Result<u64> {
    bytes(pid, "VmRSS")
}

/// The most that it ever was (`VmHWM`).
pub fn most_resident(pid: u32) -> Result<u64> {
    bytes(pid, "VmHWM")
}

fn bytes(pid: u32, field: &str) -> Result<u64> {
    let text = status(Path::new(&format!("/proc/{pid}")), field)?;
    let kib = text.strip_suffix("kB");
    let kib: u64 = kib
        .with_context(|| format!("{field} is not in kB"))?
        .trim()
        .parse()?;
    Ok(kib * 1024)
}

/// When a process started, in clock ticks since boot: field 22 of its `stat`.
pub fn start_time(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, behind_name) = stat.rsplit_once(')').context("no name in stat")?;
    let field = behind_name.split_ascii_whitespace().nth(22 - 3);
    Ok(field.context("stat is too short")?.parse()?)
}

/// Descriptors that a process has open.
pub fn descriptors(pid: u32) -> Result<u64> {
    let directory = format!("/proc/{pid}/fd");
    let listed = fs::read_dir(&directory).with_context(|| format!("cannot read {directory}"))?;
    Ok(listed.count() as u64)
}
