//! The guest's file system, but for the kernel's modules: this machine's own tools with their libraries, the agent,
//! the scenarios, and the program that runs first.
//!
//! The tools are the real ones. An applet of busybox that is found first, or a busybox shell that prefers its own, knows
//! neither namespaces nor half of the options.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use super::programs::Programs;
use crate::sh;

/// What the first program and the scenarios start. A scenario that misses one of its tools says so and is counted as
/// unavailable.
const TOOLS: &[&str] = &[
    // The first program.
    "sh", "mount", "mkdir", "insmod", "cat", "ls", "true", "sleep",
    // The lab, and what advice tells its reader to type.
    "ip", "tc", "ss", "nstat", "nft", "sysctl", "bpftool", "nginx", "iperf3", "setpriv", "timeout",
    "wc", "grep", "head", "env", "strace",
];
/// Configuration that the tools read.
const FILES: &[&str] = &["/etc/protocols", "/etc/services"];
const DIRECTORIES: &[&str] = &["/etc/iproute2", "/usr/share/iproute2"];
/// Links to their namesakes below /usr, where this machine has them so.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib64"];
/// What has to be there, empty.
const EMPTY: &[&str] = &[
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "root",
    "etc",
    "var/log/nginx",
    "var/lib/nginx",
];
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUPS: &str = "root:x:0:\nnogroup:x:65534:\n";

/// What the guest is to do.
pub(super) struct Job<'a> {
    /// Words for the test program that choose scenarios; all of them when there are none.
    pub(super) scenarios: &'a [&'a str],
    /// How many scenarios run at a time.
    pub(super) threads: u16,
    /// How much longer than on a machine things may take.
    pub(super) time_scale: u32,
}

/// Collects everything.
pub(super) fn build(programs: &Programs) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in MERGED {
        match fs::read_link(Path::new("/").join(directory)) {
            Ok(target) => {
                let target = target.display().to_string();
                archive.directory(&target);
                archive.link(directory, &target);
            }
            Err(_) => archive.directory(directory),
        }
    }
    for directory in EMPTY {
        archive.directory(directory);
    }
    archive.file("/init", 0o755, include_bytes!("init.sh"));
    archive.file("/etc/passwd", 0o644, USERS.as_bytes());
    archive.file("/etc/group", 0o644, GROUPS.as_bytes());
    for tool in TOOLS {
        if let Some(path) = sh::which(tool) {
            program(&mut archive, &path, &path.display().to_string())?;
        }
    }
    for path in FILES {
        if let Ok(data) = fs::read(path) {
            archive.file(path, 0o644, &data);
        }
    }
    for directory in DIRECTORIES {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry?.path();
            if path.is_file() {
                archive.file(&path.display().to_string(), 0o644, &fs::read(&path)?);
            }
        }
    }
    program(&mut archive, &programs.agent, "/osi/osi-agent")?;
    program(&mut archive, &programs.scenarios, "/osi/scenarios")?;
    // The scenarios know these by the paths that they have here.
    for helper in &programs.helpers {
        program(&mut archive, helper, &helper.display().to_string())?;
    }
    let schemas = sh::root().join("docs/schema");
    // Named from the package's own folder.
    archive.directory(&sh::root().join("tests").display().to_string());
    for entry in fs::read_dir(&schemas)? {
        let path = entry?.path();
        archive.file(&path.display().to_string(), 0o644, &fs::read(&path)?);
    }
    Ok(archive.finish())
}

/// The instructions, as an archive of their own.
pub(super) fn instructions(job: &Job<'_>) -> Vec<u8> {
    let Job {
        scenarios,
        threads,
        time_scale,
    } = job;
    // A path has none; a quote would end the word.
    let scenarios = scenarios.join(" ").replace('\'', "");
    let text =
        format!("THREADS={threads}\nSCENARIOS='{scenarios}'\nexport OSI_TIME_SCALE={time_scale}\n");
    let mut archive = Archive::default();
    archive.file("/osi/job", 0o644, text.as_bytes());
    archive.finish()
}

/// Adds a program under `name`, with the libraries that it is linked against.
fn program(archive: &mut Archive, path: &Path, name: &str) -> Result<()> {
    add(archive, path, name)?;
    // Fails for static programs and scripts, which need no libraries.
    let libraries = sh::output(sh::command("ldd").arg(path)).unwrap_or_default();
    for library in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        add(archive, Path::new(library), library)?;
    }
    Ok(())
}

fn add(archive: &mut Archive, path: &Path, name: &str) -> Result<()> {
    let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    archive.file(name, 0o755, &data);
    Ok(())
}
