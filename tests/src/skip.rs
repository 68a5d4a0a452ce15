//! What a test needs of the machine; what is missing is said aloud, never passed silently.

use std::io::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Result, anyhow, ensure};

use crate::hidden;
use crate::netns;
use crate::report;
use crate::scale;
use crate::turn::Turn;

/// One thing a test needs beside root and iproute2.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// A program in the search path.
    Program(&'static str),
    /// A device file.
    Device(&'static str),
    /// A machine of its own: the test changes this, which belongs to the whole machine.
    OwnMachine(&'static str),
}

static SWEPT: LazyLock<std::result::Result<(), String>> = LazyLock::new(|| {
    let swept = netns::sweep().and_then(|()| hidden::sweep());
    swept.map_err(|error| format!("{error:#}"))
});

/// The test's turn on the machine, beside others; none if it cannot run here, and then the reason is printed and logged.
pub fn ready(test: &str, needs: &[Need]) -> Result<Option<Turn>> {
    Ok(possible(test, needs)?.then(|| Turn::shared(test)))
}

/// The same for a test that saturates the machine or would be disturbed by one that does.
pub fn ready_alone(test: &str, needs: &[Need]) -> Result<Option<Turn>> {
    Ok(possible(test, needs)?.then(|| Turn::alone(test)))
}

/// The same for a test that measures time: alone where the machine is slow, and others would be part of what it measures.
pub fn ready_to_time(test: &str, needs: &[Need]) -> Result<Option<Turn>> {
    if scale::is_slow() {
        ready_alone(test, needs)
    } else {
        ready(test, needs)
    }
}

fn possible(test: &str, needs: &[Need]) -> Result<bool> {
    let thread = std::thread::current();
    // The harness names its threads after the tests, and skips are counted by that name.
    let harness = thread
        .name()
        .filter(|name| name.contains("::"))
        .unwrap_or(test);
    ensure!(
        harness == test,
        "this test calls itself {test} and is {harness}"
    );
    if let Some(reason) = missing(needs) {
        skip(test, &reason)?;
        return Ok(false);
    }
    SWEPT
        .clone()
        .map_err(|error| anyhow!("cannot remove what earlier runs left: {error}"))?;
    Ok(true)
}

/// Says that a test did not run and why, on standard output and in the file that `OSI_SKIP_LOG` names.
pub fn skip(test: &str, reason: &str) -> Result<()> {
    let line = format!("skipped: {test}: {reason}\n");
    // Not println!: the test harness would swallow it.
    std::io::stdout().write_all(line.as_bytes())?;
    let Some(log) = std::env::var_os("OSI_SKIP_LOG") else {
        return Ok(());
    };
    report::append(Path::new(&log), line.as_bytes())
}

fn missing(needs: &[Need]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("namespaces and eBPF need root".to_owned());
    }
    [Need::Program("ip"), Need::Program("ss")]
        .iter()
        .chain(needs)
        .find_map(|need| match need {
            Need::Program(name) => {
                (!in_path(name)).then(|| format!("the program {name} is not installed"))
            }
            Need::Device(path) => {
                (!Path::new(path).exists()).then(|| format!("there is no {path}"))
            }
            Need::OwnMachine(changed) => std::env::var_os("OSI_GUEST").is_none().then(|| {
                format!("{changed} is the whole machine's, so it runs in guests (`cargo xtask vm`)")
            }),
        })
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
        .any(|directory| directory.join(program).is_file())
}
