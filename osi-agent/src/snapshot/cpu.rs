//! What each CPU did with packets, and its time.

use serde::{Deserialize, Serialize};

/// One CPU's line of `/proc/net/softnet_stat`, and its time in `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Softnet {
    /// CPU number.
    pub cpu: u32,
    /// Packets processed.
    pub processed: u64,
    /// Dropped because the backlog was full.
    pub dropped: u64,
    /// Times the budget ran out with work left.
    pub squeezed: u64,
    /// Packets in the backlog now, where the kernel shows it (5.10 on).
    pub backlog: Option<u64>,
    /// What it has spent its time on.
    pub time: CpuTime,
}

/// A CPU's time since boot, in clock ticks of user space (`USER_HZ`, a hundredth of a second).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// In softirqs, those that `ksoftirqd` runs among them.
    pub softirq_ticks: u64,
    /// In everything, idling among it; what a hypervisor took is not.
    pub ticks: u64,
    /// What a hypervisor took while there was something to do (steal).
    pub stolen_ticks: u64,
}

impl CpuTime {
    /// Softirqs' share of it, 0 to 1.
    pub fn share(self) -> f64 {
        self.softirq_ticks as f64 / self.ticks.max(1) as f64
    }
}

/// Time in which at least one runnable task waited for a CPU, since boot (PSI `some`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// When it was read (`CLOCK_BOOTTIME`).
    pub read_ns: u64,
    /// The time.
    pub waited_ns: u64,
}

/// A cgroup with a quota of CPU time (`cpu.max`, `cpu.cfs_quota_us`), and what it had of it since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Its path in the file system, escaped.
    pub group: String,
    /// How long a period is (`cpu.max`, `cpu.cfs_period_us`); 0 where that could not be read.
    pub period_ns: u64,
    /// CPU time in each of them.
    pub quota_ns: u64,
    /// Periods in which it ran (`nr_periods`).
    pub periods: u64,
    /// Of these, periods in which the quota was used up (`nr_throttled`).
    pub throttled: u64,
    /// Time that its tasks were kept from running then, of all CPUs together (`throttled_usec`, `throttled_time`).
    pub withheld_ns: u64,
    /// Its processes, as they were when it was throttled last; empty where it never was.
    pub members: Vec<u32>,
}
