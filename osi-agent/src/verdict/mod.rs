//! The fourth hop: the layer map and the history become findings, roots and symptoms, advice.
//!
//! Pure: values in, values out. [`History`] carries everything that outlives a window, so that a replay gives the same verdict.

use schemars::JsonSchema;
use serde::Serialize;

use osi_common::layer::Layer;

use crate::layer::Signal;
use crate::scope::Scope;
use crate::snapshot::Owner;

mod causes;

mod facts;

mod graph;

mod history;

mod judge;

mod layers;

mod map;

mod on_the_way;

mod origin;

mod owner;

mod pairs;

mod queueing;

mod reach;

mod rule;

mod slow;

mod stuck;

pub(crate) mod text;

mod l1_physical;

mod l2_data_link;

mod l3_network;

mod l4_transport;

mod l5_session;

mod l6_presentation;

mod l7_application;

#[cfg(test)]
mod tests;

pub use causes::{cause, causes};
pub use facts::{Facts, Sighting};
pub use history::History;
pub use judge::{Circumstances, judge};
pub use l4_transport::handshake_slow::handshake_budget_ns;
pub use map::{
    BlindRow, CounterKind, CounterRow, Coverage, DropReason, FailedConnects, FaultMap,
    LatencySummary, LayerFault, LayerState, MeterKind, MeterRow, PacketSizes, ScopedLatency,
};
pub use rule::CLEAR_WINDOWS;

/// A named fault; every output and document iterates the table of these.
#[derive(Debug)]
pub struct Cause {
    /// Stable name in every output.
    pub id: &'static str,
    /// The layer to fix.
    pub layer: Layer,
    /// What kind of fault it is.
    pub class: CauseClass,
    /// How soon it opens, unless a sighting says otherwise.
    pub onset: Onset,
    /// Severity at the threshold, unless a sighting says otherwise.
    pub severity: Severity,
    /// One sentence for people: what it means.
    pub help: &'static str,
    /// Causes that may explain this one away, when their scope covers this one's: lists, of which some are shared.
    pub explained_by: &'static [&'static [&'static Cause]],
    /// Layers above that may press back on this one: where they are blind, they can not be ruled out.
    pub suspects: &'static [Layer],
    /// Signals of its condition; when all of them are blind, so is the cause.
    pub reads: &'static [&'static Signal],
    /// Named limits of its condition, overridable in the configuration file.
    pub thresholds: &'static [Threshold],
    /// Its condition: where it holds in this window, and the evidence.
    pub detect: fn(&Facts, &mut Vec<Sighting>),
    /// What to do about it, read-only, with current values.
    pub advise: fn(&Finding) -> Vec<Advice>,
}

impl Cause {
    /// Causes that may explain this one away.
    pub fn explanations(&self) -> impl Iterator<Item = &'static Self> {
        self.explained_by.iter().copied().flatten().copied()
    }

    /// A limit as it is configured, by cause and name, else its default.
    fn limit(&self, name: &str, configured: &dyn Fn(&str, &str) -> Option<f64>) -> f64 {
        let row = self.thresholds.iter().find(|limit| limit.name == name);
        debug_assert!(row.is_some(), "{} has no limit {name}", self.id);
        let default = || row.map(|limit| limit.default);
        configured(self.id, name)
            .or_else(default)
            .unwrap_or(f64::INFINITY)
    }
}

/// A named limit of a cause's condition.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// Name in the configuration file, below the cause's name.
    pub name: &'static str,
    /// Value unless configured otherwise.
    pub default: f64,
}

impl Threshold {
    /// A row of a cause's table.
    pub(crate) const fn of(name: &'static str, default: f64) -> Self {
        Self { name, default }
    }
}

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseClass {
    /// A finite resource is full.
    Capacity,
    /// Packets are lost.
    Loss,
    /// Something takes too long.
    Delay,
    /// Somebody forbade it.
    Policy,
    /// Something is set up wrongly.
    Config,
    /// The other side.
    Peer,
    /// The application.
    App,
}

/// How soon a finding opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onset {
    /// At once: the kernel named it.
    Hard,
    /// When the condition held in 2 of 3 windows.
    Statistical,
    /// When the condition held in 3 windows in a row.
    Sustained,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth fixing.
    Warn,
    /// Hurts now.
    Critical,
}

/// How sure the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Only counters moved.
    Possible,
    /// Correlated signals agree.
    Likely,
    /// The kernel named the cause.
    Certain,
}

/// One measured value behind a finding.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Evidence {
    /// Signal id, kernel counter, drop reason, or place in nftables such as `nft inet filter input handle 7`.
    pub signal: String,
    /// Its value in the window.
    pub value: f64,
    /// Unit of the value.
    pub unit: String,
    /// What it means here, one sentence.
    pub why: String,
}

impl Evidence {
    /// A measured value and what it means.
    pub fn new(signal: &str, value: f64, unit: &str, why: impl Into<String>) -> Self {
        Self {
            signal: signal.to_owned(),
            value,
            unit: unit.to_owned(),
            why: why.into(),
        }
    }
}

/// Whom a fault hurts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Impact {
    /// Connections hit in the window.
    pub connections: u64,
    /// Share of the traffic or attempts in scope, 0 to 1.
    pub share_ratio: f64,
    /// Peers hit.
    pub peers: u64,
}

/// What to do, read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Advice {
    /// What to do and why, one sentence, with the current value.
    pub text: String,
    /// Command of a standard tool that confirms it.
    pub confirm: String,
    /// Command or setting that changes it; for a person to run.
    pub change: String,
    /// What the change costs.
    pub trade_off: String,
}

/// Where a finding is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// Opened in this window.
    Open,
    /// Still open, something about it changed.
    Update,
    /// Closed in this window.
    Resolved,
}

/// A finding whose condition does not hold any more: it stays open for some windows, since faults come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Quiet {
    /// Time since the end of the last window in which it held. What was measured is that old.
    pub not_seen_ns: u64,
    /// Windows without its condition so far; 5 resolve it. A window in which the cause is blind is none.
    pub clear_windows: u64,
}

/// An occurrence of a cause in a scope.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Finding {
    /// Stable through its life: a hash of boot id, cause, scope and opened-at.
    pub id: String,
    /// Where it is in its life.
    pub state: FindingState,
    /// Id of its cause.
    pub cause: String,
    /// The cause's layer.
    pub layer: String,
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub scope: Scope,
    /// Who owns the listener that it is about; null where nobody knows, and for other scopes.
    pub owner: Option<Owner>,
    /// What was measured when the condition last held.
    pub evidence: Vec<Evidence>,
    /// How sure.
    pub confidence: Confidence,
    /// Ids of the findings that explain it; empty for a root.
    pub explained_by: Vec<String>,
    /// Whom it hurts.
    pub impact: Impact,
    /// One sentence.
    pub summary: String,
    /// RFC 3339 time it opened.
    pub opened_at: String,
    /// RFC 3339 time it was resolved.
    pub resolved_at: Option<String>,
    /// How long its condition has not held; null while it holds.
    pub quiet: Option<Quiet>,
    /// Windows since it opened.
    #[serde(skip)]
    pub age_windows: u64,
}

impl Finding {
    /// The first row of evidence about a signal.
    fn row(&self, signal: &Signal) -> Option<&Evidence> {
        self.evidence.iter().find(|row| row.signal == signal.id)
    }

    /// The value of the evidence of this name, 0 where there is none.
    fn value(&self, signal: &str) -> f64 {
        let mut rows = self.evidence.iter();
        rows.find(|row| row.signal == signal)
            .map_or(0.0, |row| row.value)
    }
}

/// Overall state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictState {
    /// Nothing found.
    Ok,
    /// Worth fixing.
    Warn,
    /// Hurts now.
    Critical,
}

/// The layer to fix, with evidence and advice.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verdict {
    /// Severity of the worst root.
    pub state: VerdictState,
    /// Layer of the worst root, null when nothing is wrong.
    pub layer: Option<String>,
    /// Cause of the worst root.
    pub cause: Option<String>,
    /// Its finding.
    pub finding_id: Option<String>,
    /// When it opened.
    pub since: Option<String>,
    /// How long its condition has not held; null while it holds, and when nothing is wrong.
    pub quiet: Option<Quiet>,
    /// One sentence.
    pub summary: String,
    /// How sure.
    pub confidence: Option<Confidence>,
    /// Where.
    pub scope: Option<Scope>,
    /// Who owns the listener that it is about; null where nobody knows, and for other scopes.
    pub owner: Option<Owner>,
    /// Whom it hurts.
    pub impact: Option<Impact>,
    /// What was measured.
    pub evidence: Vec<Evidence>,
    /// Findings that the root explains.
    pub symptoms: Vec<FindingRef>,
    /// Independent roots, worst first.
    pub other_roots: Vec<FindingRef>,
    /// Layers that are blind enough to overturn the verdict.
    pub cannot_rule_out: Vec<String>,
    /// What to do.
    pub advice: Vec<Advice>,
}

/// A finding by reference.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FindingRef {
    /// Its layer.
    pub layer: String,
    /// Its cause.
    pub cause: String,
    /// Its id.
    pub finding_id: String,
}
