//! The NDJSON stream: one object a line, every line with the same head.

use schemars::JsonSchema;
use serde::Serialize;

use crate::event::Event;
use crate::output::doctor::DoctorReport;
use crate::probe::{ProbeStatus, SelfStats};
use crate::verdict::{BlindRow, FaultMap, Finding};

mod schema;

pub use schema::schema;

/// Version of the stream. No slash: some shippers escape it.
pub const SCHEMA: &str = "osi-agent.v1";

/// First line: what is at work and what it can see.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Hello {
    /// Version of the agent.
    pub agent_version: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Identity of this boot, from /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// Length of a window.
    pub interval_ns: u64,
    /// Namespaces in scope: all, current, a name, a path or pid:N.
    pub netns: String,
    /// Every probe, at work or not.
    pub probes: Vec<ProbeStatus>,
    /// Layers of which nothing can be seen, and why.
    pub blind: Vec<BlindLayer>,
}

/// A layer of which nothing can be seen.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BlindLayer {
    /// "L1" to "L7".
    pub layer: String,
    /// Why.
    pub why: Vec<BlindRow>,
}

/// Last line.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Bye {
    /// Why it ends: signal, duration, quit or error.
    pub reason: String,
    /// Windows since the start.
    pub windows: u64,
    /// Totals per layer since the start, L7 first.
    pub layers: Vec<LayerTotals>,
    /// Samples lost since the start, because the ring was full.
    pub lost_events: u64,
}

/// What a layer lost since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LayerTotals {
    /// "L1" to "L7".
    pub layer: String,
    /// Packets dropped, benign ones excluded.
    pub drops: u64,
    /// Errors.
    pub errors: u64,
    /// Packets freed for benign reasons.
    pub benign_drops: u64,
}

/// Type of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    Hello,
    FaultMap,
    Finding,
    Event,
    Stats,
    Bye,
    Doctor,
}

impl Type {
    const ALL: [Self; 7] = [
        Self::Hello,
        Self::FaultMap,
        Self::Finding,
        Self::Event,
        Self::Stats,
        Self::Bye,
        Self::Doctor,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::FaultMap => "fault_map",
            Self::Finding => "finding",
            Self::Event => "event",
            Self::Stats => "stats",
            Self::Bye => "bye",
            Self::Doctor => "doctor",
        }
    }
}

/// What every line begins with.
#[derive(Serialize)]
struct Line<'a, T> {
    schema: &'static str,
    r#type: Type,
    ts: &'a str,
    host: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// Makes the lines of one host. Each ends in a newline and holds no other.
#[derive(Clone, Debug)]
pub struct Lines {
    host: String,
}

impl Lines {
    /// Lines of this host.
    pub fn new(host: impl Into<String>) -> Self {
        Self { host: host.into() }
    }

    /// First line.
    pub fn hello(&self, ts: &str, hello: &Hello) -> Vec<u8> {
        self.line(Type::Hello, ts, hello)
    }

    /// One window; its time is the window's end.
    pub fn fault_map(&self, map: &FaultMap) -> Vec<u8> {
        self.line(Type::FaultMap, &map.at, map)
    }

    /// A finding that opened, changed or was resolved: one of `map.changes`, with `map.at`.
    pub fn finding(&self, ts: &str, finding: &Finding) -> Vec<u8> {
        self.line(Type::Finding, ts, finding)
    }

    /// A single event, at its own time.
    pub fn event(&self, event: &Event) -> Vec<u8> {
        self.line(Type::Event, &event.at, event)
    }

    /// What the agent says about itself.
    pub fn stats(&self, ts: &str, stats: &SelfStats) -> Vec<u8> {
        self.line(Type::Stats, ts, stats)
    }

    /// Last line.
    pub fn bye(&self, ts: &str, bye: &Bye) -> Vec<u8> {
        self.line(Type::Bye, ts, bye)
    }

    /// The doctor's report, the only line of its stream.
    pub fn doctor(&self, ts: &str, report: &DoctorReport) -> Vec<u8> {
        self.line(Type::Doctor, ts, report)
    }

    fn line<T: Serialize>(&self, r#type: Type, ts: &str, body: &T) -> Vec<u8> {
        let line = Line {
            schema: SCHEMA,
            r#type,
            ts,
            host: &self.host,
            body,
        };
        // Maps with text keys and finite or null numbers always serialize; a test makes every type of line.
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests;
