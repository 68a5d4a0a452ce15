//! The fault map as the contract shows it: seven layers and a verdict.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Finding, Verdict};
use crate::event::KilledBy;
use crate::scope::Scope;

/// One window's result: what every output draws.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FaultMap {
    /// Length of the window.
    pub window_ns: u64,
    /// Number of the window since the agent started, from 1.
    pub seq: u64,
    /// Seven entries, L7 first.
    pub layers: Vec<LayerFault>,
    /// The layer to fix.
    pub verdict: Verdict,
    /// Ids of all open findings, symptoms too.
    pub open_findings: Vec<String>,
    /// Findings that could not be opened because too many are open.
    pub findings_omitted: u64,
    /// Findings that opened, changed or were resolved in this window: lines of their own in the stream.
    #[serde(skip)]
    pub changes: Vec<Finding>,
    /// All open findings in full, worst first: for screens.
    #[serde(skip)]
    pub open: Vec<Finding>,
    /// Window's end, RFC 3339.
    #[serde(skip)]
    pub at: String,
}

/// State of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayerState {
    /// No open finding.
    Ok,
    /// Worst open finding is a warning.
    Warn,
    /// Worst open finding is critical.
    Critical,
    /// No meter or error source of the layer can be read.
    Blind,
}

/// How much of a layer can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// Everything this version knows of.
    Full,
    /// Something is blind.
    Partial,
}

/// One layer of the fault map.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LayerFault {
    /// "L1" to "L7".
    pub layer: String,
    /// Its OSI name.
    pub name: String,
    /// Highest severity of its open findings, or blind.
    pub state: LayerState,
    /// Whether anything of it is blind.
    pub coverage: Coverage,
    /// Maximum ratio over capacity meters and scopes, not clamped; null where no capacity is known.
    pub saturation_ratio: Option<f64>,
    /// The meter that limits it.
    pub limiting_meter: Option<String>,
    /// Where.
    pub limiting_scope: Option<Scope>,
    /// Packets dropped in the window, benign ones excluded.
    pub drops: u64,
    /// Errors in the window.
    pub errors: u64,
    /// Packets freed for benign reasons in the window.
    pub benign_drops: u64,
    /// Every reason, benign too, most packets first.
    pub drops_by_reason: Vec<DropReason>,
    /// What could not be seen.
    pub blind: Vec<BlindRow>,
    /// At most 16 rows per meter, worst first.
    pub meters: Vec<MeterRow>,
    /// Meter rows left out.
    pub meters_omitted: u64,
    /// What the layer counted in the window, by signal and scope; what did not move is left out. At most 16 rows per signal,
    /// largest first.
    pub counters: Vec<CounterRow>,
    /// Counter rows left out.
    pub counters_omitted: u64,
    /// Packet sizes by interface and direction, as tc counted them in the window; on L2 only, absent elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packet_sizes: Vec<PacketSizes>,
    /// Latency signals by id.
    pub latency: BTreeMap<String, LatencySummary>,
    /// Latencies completed in the window by whom they were with: peers and listening ports; on L4 and L7 only, absent elsewhere. At
    /// most 16 rows per signal, slowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency_by_scope: Vec<ScopedLatency>,
    /// Such rows left out.
    #[serde(default, skip_serializing_if = "is_none")]
    pub latency_by_scope_omitted: u64,
    /// TCP connects that failed in the window by what ended them; on L4 only, whatever layer ended them, absent elsewhere. At
    /// most 16 rows, most connects first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_connects: Vec<FailedConnects>,
    /// Failed connects in rows left out.
    #[serde(default, skip_serializing_if = "is_none")]
    pub failed_connects_omitted: u64,
    /// The same connects by peer, without their errors, as far as peers are counted apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_connects_by_peer: Vec<FailedConnects>,
    /// Failed connects in rows left out of these.
    #[serde(default, skip_serializing_if = "is_none")]
    pub failed_connects_by_peer_omitted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// TCP connects that the same thing ended.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FailedConnects {
    /// Which layer, and what on it, as in events.
    pub killed_by: KilledBy,
    /// Error as the application sees it, by name; null where it gave up, where nobody knows, and in rows of peers.
    pub errno: Option<String>,
    /// How many.
    pub count: u64,
    /// The namespace that they were made in, or the peer that they went to.
    pub scope: Scope,
}

/// Latencies of one scope. Bounds are those of buckets that are 41 % wide.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScopedLatency {
    /// Signal id.
    pub id: String,
    /// With whom.
    pub scope: Scope,
    /// Completions measured.
    pub count: u64,
    /// Median, upper bound of its bucket.
    pub p50_ns: Option<u64>,
    /// 90th percentile.
    pub p90_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// What the 99th percentile usually is; null until enough windows have been seen.
    pub usual_p99_ns: Option<u64>,
}

/// Drops of one reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DropReason {
    /// The kernel's name.
    pub reason: String,
    /// benign, policy, capacity, corruption, config, peer or unclassified.
    pub class: String,
    /// Packets (skbs).
    pub packets: u64,
    /// Segments.
    pub segments: u64,
    /// Fragments freed with their head, not packets of their own.
    pub fragments: u64,
    /// Kernel functions that dropped them, most first, at most four.
    pub functions: Vec<String>,
    /// Where.
    pub scope: Scope,
}

/// Packets of an interface and direction by size.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PacketSizes {
    /// The interface.
    pub scope: Scope,
    /// `rx` or `tx`.
    pub direction: String,
    /// Upper bounds of the classes, inclusive; a class without packets is left out.
    pub upper_bytes: Vec<u64>,
    /// Packets per class.
    pub packets: Vec<u64>,
}

/// Something that could not be seen.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BlindRow {
    /// Signal, reader or probe.
    pub what: String,
    /// Why.
    pub why: String,
}

/// One row of a meter.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MeterRow {
    /// Signal id.
    pub id: String,
    /// `capacity` counts in the saturation, `indicator` does not.
    pub kind: MeterKind,
    /// In use.
    pub used: f64,
    /// Limit, null where it is not known.
    pub capacity: Option<f64>,
    /// Unit of both.
    pub unit: String,
    /// used / capacity.
    pub ratio: Option<f64>,
    /// Where.
    pub scope: Scope,
    /// Time until full at the trend of the last windows; null when it is not filling.
    pub time_to_full_ns: Option<u64>,
    /// The truth may be higher.
    pub lower_bound: bool,
}

/// Kind of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MeterKind {
    /// At 1.0 the next unit is refused, delayed or dropped.
    Capacity,
    /// Evidence only.
    Indicator,
}

/// One counter in one scope.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CounterRow {
    /// Signal id.
    pub id: String,
    /// What it is evidence of.
    pub kind: CounterKind,
    /// Growth in the window.
    pub delta: u64,
    /// Unit.
    pub unit: String,
    /// Where.
    pub scope: Scope,
}

/// Kind of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CounterKind {
    /// Plain traffic or activity.
    Traffic,
    /// Something that went wrong: part of the layer's `errors`.
    Errors,
    /// Packets dropped, as a counter of the kernel tells: part of the layer's `drops`.
    Drops,
}

/// Latencies completed in the window, and those still open.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LatencySummary {
    /// Completions measured.
    pub count: u64,
    /// Median, upper bound of its bucket; null without completions.
    pub p50_ns: Option<u64>,
    /// 90th percentile.
    pub p90_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// Upper bound of the top bucket.
    pub max_ns: Option<u64>,
    /// Begun and not completed.
    pub in_flight: u64,
    /// Age of the oldest of these.
    pub oldest_age_ns: u64,
    /// Completed without a measurement.
    pub unmeasured: u64,
}
