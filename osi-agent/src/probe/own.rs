//! What the agent costs and what it lost.

use super::{MapFill, ProbeRuns, SelfStats};
use crate::snapshot::KernelMaps;
use osi_common::occurrence::Health;

/// Names of the agent's own programs, for the run statistics.
pub fn stats(maps: &KernelMaps, dropped_lines: u64) -> SelfStats {
    let health = |row: Health| maps.health.get(row as usize).copied().unwrap_or(0);
    SelfStats {
        probes: runs(),
        lost_events: health(Health::RingFull),
        suppressed_events: health(Health::NotSampled),
        uncounted_events: health(Health::KeysFull),
        dropped_lines,
        map_fill: maps
            .fill
            .iter()
            .map(|(name, used, capacity)| MapFill {
                name: (*name).to_owned(),
                used: *used,
                capacity: *capacity,
            })
            .collect(),
        cpu_ns: cpu_ns(),
        rss_bytes: rss_bytes(),
        map_bytes: map_bytes(),
    }
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

/// Memory of our maps, as the kernel accounts it (`memlock` in `/proc/self/fdinfo`).
fn map_bytes() -> u64 {
    own_fdinfo()
        .iter()
        .filter(|info| field(info, "map_type").is_some())
        .filter_map(|info| field(info, "memlock"))
        .sum()
}

/// Runs and misses per program, as the kernel counts them in `fdinfo`. Run counts move only while its statistics are on.
fn runs() -> Vec<ProbeRuns> {
    own_fdinfo()
        .iter()
        .filter(|info| field(info, "prog_type").is_some())
        .map(|info| {
            let (runs, time) = (
                field(info, "run_cnt").unwrap_or(0),
                field(info, "run_time_ns").unwrap_or(0),
            );
            ProbeRuns {
                name: format!("id {}", field(info, "prog_id").unwrap_or(0)),
                events: (runs > 0).then_some(runs),
                ns_per_event: (runs > 0).then(|| time as f64 / runs as f64),
                misses: field(info, "recursion_misses").unwrap_or(0),
            }
        })
        .collect()
}

fn own_fdinfo() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fdinfo") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .filter(|info| info.contains("memlock:"))
        .collect()
}

fn field(fdinfo: &str, name: &str) -> Option<u64> {
    let line = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}
