//! What the agent costs and what it lost.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::{MapFill, ProbeRuns, SelfStats};
use crate::snapshot::KernelMaps;
use osi_common::occurrence::Health;

/// What the agent costs right now; cheap enough for every window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// CPU time of all threads since the start, user and system.
    pub cpu_ns: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Samples lost since the start.
    pub lost_events: u64,
}

/// What the agent costs right now.
pub fn cost(maps: &KernelMaps) -> Cost {
    Cost {
        cpu_ns: cpu_ns(),
        rss_bytes: rss_bytes(),
        lost_events: health(maps, Health::RingFull),
    }
}

/// Everything that the agent says about itself.
pub fn stats(
    maps: &KernelMaps,
    probes: Vec<ProbeRuns>,
    map_bytes: u64,
    dropped_lines: u64,
) -> SelfStats {
    let Cost {
        cpu_ns,
        rss_bytes,
        lost_events,
    } = cost(maps);
    let fill = maps.fill.iter().map(|(name, used, capacity)| MapFill {
        name: (*name).to_owned(),
        used: *used,
        capacity: *capacity,
    });
    SelfStats {
        probes,
        lost_events,
        suppressed_events: health(maps, Health::NotSampled),
        uncounted_events: health(maps, Health::KeysFull),
        dropped_lines,
        map_fill: fill.collect(),
        cpu_ns,
        rss_bytes,
        map_bytes,
    }
}

fn health(maps: &KernelMaps, row: Health) -> u64 {
    maps.health.get(row as usize).copied().unwrap_or(0)
}

/// Hands memory that start-up used and freed back to the system: the C library would keep it for later.
pub fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no preconditions and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// CPU time of all threads, user and system.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Resident memory (`/proc/self/statm`, second field, pages).
fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Memory of our maps, as the kernel accounts it (`memlock` in `/proc/self/fdinfo`). It does not change after loading.
pub fn map_bytes() -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc/self/fdinfo") else {
        return 0;
    };
    let infos = entries
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    infos
        .filter(|info| field(info, "map_type").is_some())
        .filter_map(|info| field(&info, "memlock"))
        .sum()
}

/// Runs and misses of a program, as the kernel counts them in `fdinfo`. Run counts move only while its statistics are on.
pub fn runs(name: &str, program: BorrowedFd) -> ProbeRuns {
    let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    let info = std::fs::read_to_string(path).unwrap_or_default();
    let (runs, time) = (
        field(&info, "run_cnt").unwrap_or(0),
        field(&info, "run_time_ns").unwrap_or(0),
    );
    ProbeRuns {
        name: name.to_owned(),
        events: (runs > 0).then_some(runs),
        ns_per_event: (runs > 0).then(|| time as f64 / runs as f64),
        misses: field(&info, "recursion_misses").unwrap_or(0),
    }
}

fn field(fdinfo: &str, name: &str) -> Option<u64> {
    let line = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}
