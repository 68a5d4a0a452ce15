//! The first hop: which programs this kernel takes, where they are attached, and what is blind without them.

use schemars::JsonSchema;
use serde::Serialize;

pub mod attach;

pub mod attachable;

pub mod btf;

pub(crate) mod clsact;

pub mod interfaces;

pub mod kernel;

pub mod ladder;

pub mod memory;

pub mod own;

pub mod preflight;

pub mod table;

pub use attach::{ProbeOptions, Probes};
pub use kernel::{Kernel, Names};

/// How a probe ended after its variants were tried in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProbeStatus {
    /// Name in the table of probes.
    pub name: String,
    /// Active or unavailable.
    pub state: ProbeState,
    /// The variant that is attached, null when none is.
    pub variant: Option<String>,
    /// What that variant measures, where variants differ.
    pub measures: Option<String>,
    /// Why it is unavailable, or why earlier variants were refused; null when the first one took.
    pub reason: Option<String>,
    /// Signals and events that are blind (or measured differently) without it.
    pub feeds: Vec<String>,
}

/// Whether a probe is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeState {
    /// Attached.
    Active,
    /// Not wanted by the options.
    Off,
    /// No variant could be attached.
    Unavailable,
}

/// What the agent says about itself, since its start.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct SelfStats {
    /// Per program: runs and mean nanoseconds per run (null unless the kernel's BPF statistics are on).
    pub probes: Vec<ProbeRuns>,
    /// Occurrences that could not be counted at all.
    pub lost_events: u64,
    /// Samples lost because the ring was full: examples that no event shows; their occurrences are counted.
    pub lost_samples: u64,
    /// Occurrences counted but not sent as samples.
    pub suppressed_events: u64,
    /// Occurrences that found the occurrence map full: counted by kind only, under the reason `other`.
    pub unattributed_events: u64,
    /// Lines of the stream dropped because the reader was slow.
    pub dropped_lines: u64,
    /// Bounded maps: entries in use and capacity.
    pub map_fill: Vec<MapFill>,
    /// CPU time of the agent in nanoseconds, user and system.
    pub cpu_ns: u64,
    /// Time that the readings of all windows took together: host files, netlink and maps.
    pub reading_ns: u64,
    /// Resident memory of the agent.
    pub rss_bytes: u64,
    /// Memory of the agent's eBPF maps.
    pub map_bytes: u64,
}

/// Runs of one program.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProbeRuns {
    /// Program name.
    pub name: String,
    /// Runs since it was attached; null unless the kernel's BPF statistics are on.
    pub events: Option<u64>,
    /// Mean nanoseconds per run; null unless the kernel's BPF statistics are on.
    pub ns_per_event: Option<f64>,
    /// Runs the kernel skipped because the program was already running on that CPU.
    pub misses: u64,
}

/// Fill of a bounded map.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MapFill {
    /// Map name.
    pub name: String,
    /// Entries in use.
    pub used: u64,
    /// Entries it can hold.
    pub capacity: u64,
}
