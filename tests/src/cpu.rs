//! Which CPU sends, and which receives.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::command;
use crate::netns::Namespace;

/// Runs work on one CPU; threads that it starts stay there, too.
pub fn on<T>(cpu: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).context("cannot stay on one CPU")?;
    work()
}

/// Runs a whole scenario on one CPU, on a thread of the same name as this one, which stays where it is.
pub fn scenario_on(cpu: usize, scenario: fn() -> Result<()>) -> Result<()> {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let thread = std::thread::Builder::new()
        .name(name)
        .spawn(move || on(cpu, scenario))?;
    thread.join().ok().context("the scenario panicked")?
}

/// Lets the first CPU receive whatever comes to an interface, whichever CPU sent it.
pub fn receive_on_first(host: &Namespace, interface: &str) -> Result<()> {
    let order = format!(
        "mount -t sysfs none /sys && echo 1 > /sys/class/net/{interface}/queues/rx-0/rps_cpus"
    );
    // The mount is the command's own: sysfs shows the interfaces of the namespace that it was mounted from.
    command::output(
        host.command("unshare")?
            .args(["--mount", "sh", "-c", &order]),
    )
    .map(drop)
}

/// The sum of a column of `/proc/net/softnet_stat` over all CPUs: 1 is drops, 2 squeezes.
pub fn softnet(column: usize) -> Result<u64> {
    let text = fs::read_to_string("/proc/net/softnet_stat")?;
    let of_cpu = |line: &str| {
        let word = line
            .split_whitespace()
            .nth(column)
            .context("a column is gone")?;
        Ok(u64::from_str_radix(word, 16)?)
    };
    text.lines().map(of_cpu).sum()
}
