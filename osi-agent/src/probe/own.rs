//! What the agent costs and what it lost.

use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MapFill, ProbeRuns, SelfStats};
use crate::snapshot::{Blind, KernelMaps};
use osi_common::layer::Layer;
use osi_common::occurrence::Health;

/// A piece of memory from so many bytes on is the system's again when it is freed.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 << 10;

/// What the agent costs right now; cheap enough for every window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// CPU time of all threads of both processes since the start, user and system.
    pub cpu_ns: u64,
    /// Resident memory of both.
    pub rss_bytes: u64,
    /// Occurrences lost since the start.
    pub lost_events: u64,
}

/// What a process of the agent costs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of all its threads since its start, user and system.
    pub cpu_ns: u64,
    /// Its resident memory.
    pub rss_bytes: u64,
}

impl Usage {
    /// Of the calling process.
    pub fn own() -> Self {
        Self {
            cpu_ns: cpu_ns(),
            rss_bytes: rss_bytes(),
        }
    }
}

/// What the agent costs right now, its helper included.
pub fn cost(maps: &KernelMaps, helper: Usage) -> Cost {
    let own = Usage::own();
    Cost {
        cpu_ns: own.cpu_ns + helper.cpu_ns,
        rss_bytes: own.rss_bytes + helper.rss_bytes,
        lost_events: health(maps, Health::Uncounted),
    }
}

/// Everything that the agent says about itself; `reading` is what the readings of all windows took.
pub fn stats(
    cost: Cost,
    maps: &KernelMaps,
    probes: Vec<ProbeRuns>,
    map_bytes: u64,
    reading: Duration,
    dropped_lines: u64,
) -> SelfStats {
    let Cost {
        cpu_ns,
        rss_bytes,
        lost_events,
    } = cost;
    let fill = maps.fill.iter().map(|(name, used, capacity)| MapFill {
        name: (*name).to_owned(),
        used: *used,
        capacity: *capacity,
    });
    SelfStats {
        probes,
        lost_events,
        lost_samples: health(maps, Health::RingFull),
        suppressed_events: health(maps, Health::NotSampled),
        unattributed_events: health(maps, Health::KeysFull),
        dropped_lines,
        map_fill: fill.collect(),
        cpu_ns,
        rss_bytes,
        map_bytes,
        reading_ns: reading.as_nanos() as u64,
    }
}

/// Bounded maps whose being full hides something, with the layers that see less for it.
const FULL: &[(Health, &[Layer], &str)] = &[
    (
        Health::KeysFull,
        &[Layer::L2, Layer::L3, Layer::L4, Layer::L5],
        "occurrences were counted by kind only: the map of reasons and namespaces is full",
    ),
    (
        Health::Uncounted,
        &[Layer::L2, Layer::L3, Layer::L4, Layer::L5],
        "occurrences could not be counted at all",
    ),
    (
        Health::HandshakesFull,
        &[Layer::L4],
        "handshakes were not timed: too many are in flight",
    ),
    (
        Health::OpenersFull,
        &[Layer::L4],
        "openers of listeners were not kept: too many sockets listen at once",
    ),
    (
        Health::PeersFull,
        &[Layer::L4, Layer::L5],
        "connects and sessions were not counted by peer: too many peers at once",
    ),
    (
        Health::ListenersFull,
        &[Layer::L4, Layer::L5],
        "handshakes and sessions were not counted by listener: too many ports are listened on",
    ),
    (
        Health::RequestsFull,
        &[Layer::L7],
        "waits of requests were not counted by listener: too many ports are listened on",
    ),
    (
        Health::DependenciesFull,
        &[Layer::L7],
        "waits for peers were not counted by peer: too many at once",
    ),
    (
        Health::Unfollowed,
        &[Layer::L7],
        "connections were not followed: the kernel gave no memory for them, or too many are open",
    ),
    (
        Health::QueriesFull,
        &[Layer::L7],
        "DNS queries were not followed: too many are in flight",
    ),
    (
        Health::ResolversFull,
        &[Layer::L7],
        "DNS queries and answers were not counted by resolver: too many at once",
    ),
    (
        Health::MessagesSkipped,
        &[Layer::L7],
        "packets had more DNS messages than are looked at",
    ),
    (
        Health::TlsFull,
        &[Layer::L6],
        "TLS handshakes were not followed: too many are in flight",
    ),
    (
        Health::EndpointsFull,
        &[Layer::L6],
        "TLS handshakes were not counted by server and port: too many at once",
    ),
    (
        Health::QuicFull,
        &[Layer::L6],
        "QUIC handshakes were not followed: too many are in flight",
    ),
    (
        Health::QuicClientsFull,
        &[Layer::L6],
        "ids of QUIC's clients were not kept: answers to them that are handed on may count as handshakes",
    ),
    (
        Health::HttpConnectionsFull,
        &[Layer::L7],
        "HTTP requests were not followed: too many are in flight",
    ),
    (
        Health::HttpServersFull,
        &[Layer::L7],
        "HTTP requests and answers were not counted by server: too many at once",
    ),
];

/// What became invisible between two readings because a map was full.
pub fn blindness(now: &KernelMaps, before: &KernelMaps) -> Vec<Blind> {
    let mut blind = Vec::new();
    for (row, layers, why) in FULL {
        let missed = health(now, *row).saturating_sub(health(before, *row));
        if missed > 0 {
            blind.extend(layers.iter().map(|layer| Blind {
                layer: *layer,
                what: "full map".to_owned(),
                why: format!("{missed} {why}"),
            }));
        }
    }
    blind
}

fn health(maps: &KernelMaps, row: Health) -> u64 {
    maps.health.get(row as usize).copied().unwrap_or(0)
}

/// Lets large pieces of memory go back to the system as soon as they are freed: the C library would learn from the first one
/// to keep the next ones in its heap, where what comes after holds them.
pub fn return_large_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function changes a setting of the allocator, from the only thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
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

/// Takes what was read of a part of this program out of memory. Whoever reads it again finds it in the file.
pub fn forget(part: &'static [u8]) {
    let page = rustix::param::page_size();
    let whole = part.as_ptr_range();
    let (start, end) = (whole.start.addr().next_multiple_of(page), whole.end.addr());
    let length = (end / page * page).saturating_sub(start);
    // SAFETY: the pages lie within a static that is never written, so that they are the file's, and nothing is lost with them.
    let _kept = unsafe {
        libc::madvise(
            whole.start.with_addr(start) as *mut _,
            length,
            libc::MADV_DONTNEED,
        )
    };
}

/// CPU time of all threads, user and system.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Resident memory (`/proc/self/statm`, second field, pages).
fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    resident(&statm)
}

pub(crate) fn resident(statm: &str) -> u64 {
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

/// Memory of our maps, as the kernel accounts it (`memlock` in `/proc/self/fdinfo`). It does not change after loading.
pub fn map_bytes() -> u64 {
    descriptors()
        .filter(|(_, info)| field(info, "map_type").is_some())
        .filter_map(|(_, info)| field(&info, "memlock"))
        .sum()
}

/// The descriptor of a BPF link of ours, by its id. It stays the same as long as the link is held.
pub(super) fn link_descriptor(id: u32) -> Option<RawFd> {
    descriptors()
        .find(|(_, info)| field(info, "link_id") == Some(id.into()))
        .map(|(descriptor, _)| descriptor)
}

/// The interface that a TCX link hangs on: 0 once it is gone, and then for ever, whatever gets its index.
pub(super) fn link_ifindex(descriptor: RawFd) -> Option<u64> {
    field(&info(descriptor), "ifindex")
}

/// Every descriptor of this process, with what the kernel tells of it.
fn descriptors() -> impl Iterator<Item = (RawFd, String)> {
    std::fs::read_dir("/proc/self/fdinfo")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(|descriptor| (descriptor, info(descriptor)))
}

/// What the kernel tells of a descriptor; nothing where it is closed.
fn info(descriptor: RawFd) -> String {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default()
}

/// Runs and misses of a program, as the kernel counts them in `fdinfo`. Run counts move only while its statistics are on.
pub fn runs(name: &str, program: BorrowedFd) -> ProbeRuns {
    let info = info(program.as_raw_fd());
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

pub(crate) fn field(fdinfo: &str, name: &str) -> Option<u64> {
    let line = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}
