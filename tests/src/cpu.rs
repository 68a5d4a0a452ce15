//! Which CPU sends, and which receives.

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

/// Lets the first CPU receive whatever comes to eth0, whichever CPU sent it.
pub fn receive_on_first(host: &Namespace) -> Result<()> {
    let order = "mount -t sysfs none /sys && echo 1 > /sys/class/net/eth0/queues/rx-0/rps_cpus";
    // The mount is the command's own: sysfs shows the interfaces of the namespace that it was mounted from.
    command::output(
        host.command("unshare")?
            .args(["--mount", "sh", "-c", order]),
    )
    .map(drop)
}
