//! The guest's file system, but for the kernel's modules: the tools, the agent, the scenarios, and the program that runs
//! first.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use super::programs::Programs;
use super::tools;
use crate::sh;

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

/// Collects everything. `tools` is the directory of the unpacked tools.
pub(super) fn build(programs: &Programs, tools: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.file("/init", 0o755, include_bytes!("init.sh"));
    archive.file("/etc/passwd", 0o644, USERS.as_bytes());
    archive.file("/etc/group", 0o644, GROUPS.as_bytes());
    tools::archive(&mut archive, tools)?;
    for directory in EMPTY {
        archive.directory(directory);
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

fn program(archive: &mut Archive, path: &Path, name: &str) -> Result<()> {
    let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    archive.file(name, 0o755, &data);
    Ok(())
}
