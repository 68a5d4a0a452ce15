//! The third hop: two snapshots become rates, ratios and histograms, layer by layer.
//!
//! Pure: values in, values out. Every output iterates [`signals`]; a new signal is one row in its layer's table.

use osi_common::histogram::LatencyHistogram;
use osi_common::latency::Latency;
use osi_common::layer::Layer;

use crate::scope::{Scope, ScopeKind};
use crate::snapshot::{Blind, Gauge};

mod drops;

mod fold;

mod window;

pub mod l1_physical;

pub mod l2_data_link;

pub mod l3_network;

pub mod l4_transport;

pub mod l5_session;

pub mod l6_presentation;

pub mod l7_application;

pub use drops::DropRow;
pub use fold::fold;
pub use window::{ListenerDelta, PeerDelta, Row, Window, address};

/// One measured quantity; every output iterates the table of these.
#[derive(Debug)]
pub struct Signal {
    /// Stable name in every output.
    pub id: &'static str,
    /// The layer it belongs to.
    pub layer: Layer,
    /// What one unit of it is.
    pub unit: Unit,
    /// Where it comes from.
    pub source: Source,
    /// What a row of it is about.
    pub scope: ScopeKind,
    /// Probes or readers that it can not do without; when one of them is blind, so is the signal.
    pub fed_by: &'static [&'static str],
    /// Oldest kernel that has it.
    pub since: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// How it is read, which also says its kind.
    pub read: Read,
}

/// The kind of a signal and the function that reads it out of a window.
#[derive(Debug)]
pub enum Read {
    /// Used, capacity, ratio of a finite resource. At ratio 1 the next unit is refused, delayed or dropped.
    Capacity(fn(&Window, &mut Vec<Use>)),
    /// Shown and used as evidence, never in the bar.
    Indicator(fn(&Window, &mut Vec<Use>)),
    /// Something that went wrong; counts in the layer's `errors`.
    Errors(fn(&Window, &mut Vec<Amount>)),
    /// Packets dropped, as a counter of the kernel tells. The drop probe sees the same packets, so the layer's `drops` is the
    /// larger of the two and never their sum.
    Drops(fn(&Window, &mut Vec<Amount>)),
    /// Plain traffic or activity.
    Traffic(fn(&Window, &mut Vec<Amount>)),
    /// A latency histogram with its in-flight twins.
    Latency(Latency),
}

/// Units of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bits per second.
    BitsPerSecond,
    /// Bytes.
    Bytes,
    /// Packets.
    Packets,
    /// Local ports.
    Ports,
    /// Connections.
    Connections,
    /// Table entries.
    Entries,
    /// File descriptors.
    Descriptors,
    /// Memory pages.
    Pages,
    /// Segments.
    Segments,
    /// Requests, whatever their protocol.
    Requests,
    /// Events of any other kind.
    Events,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    /// The unit's name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BitsPerSecond => "bits_per_s",
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Ports => "ports",
            Self::Connections => "connections",
            Self::Entries => "entries",
            Self::Descriptors => "descriptors",
            Self::Pages => "pages",
            Self::Segments => "segments",
            Self::Requests => "requests",
            Self::Events => "events",
            Self::Nanoseconds => "ns",
        }
    }
}

/// Where a signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// eBPF maps.
    Map,
    /// procfs.
    Proc,
    /// netlink.
    Netlink,
    /// The driver's own counters (`SIOCETHTOOL`).
    Ethtool,
    /// Computed from others.
    Derived,
}

impl Source {
    /// The source's name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Proc => "proc",
            Self::Netlink => "netlink",
            Self::Ethtool => "ethtool",
            Self::Derived => "derived",
        }
    }
}

/// One row of a meter, as its signal reads it.
#[derive(Clone, Debug)]
pub struct Use {
    /// What it is about.
    pub scope: Scope,
    /// In use: as of the window's end for gauges, the window's mean for rates.
    pub used: f64,
    /// At this value the next unit is refused, delayed or dropped; `None` when it is not known.
    pub capacity: Option<f64>,
    /// The truth may be higher.
    pub lower_bound: bool,
}

impl Use {
    /// A gauge with its limit.
    pub fn of_gauge(scope: Scope, gauge: Gauge) -> Self {
        Self {
            scope,
            used: gauge.used as f64,
            capacity: Some(gauge.limit as f64),
            lower_bound: false,
        }
    }
}

/// One row of a counter: its growth in the window.
#[derive(Clone, Debug)]
pub struct Amount {
    /// What it is about.
    pub scope: Scope,
    /// How much it grew in the window.
    pub delta: u64,
}

/// A meter row in the layer map.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Its row in the table.
    pub signal: &'static Signal,
    /// The reading.
    pub reading: Use,
    /// used / capacity, `None` where the capacity is not known.
    pub ratio: Option<f64>,
}

/// A counter row in the layer map.
#[derive(Clone, Debug)]
pub struct Counter {
    /// Its row in the table.
    pub signal: &'static Signal,
    /// The reading.
    pub amount: Amount,
}

/// A latency signal in the layer map.
#[derive(Clone, Debug)]
pub struct LatencyReading {
    /// Its row in the table.
    pub signal: &'static Signal,
    /// Completions in this window.
    pub histogram: LatencyHistogram,
    /// Begun and not completed at the window's end.
    pub in_flight: u64,
    /// Age of the oldest of these; 0 when there is none.
    pub oldest_age_ns: u64,
    /// Completed without a measurement in this window.
    pub unmeasured: u64,
}

/// One layer's readings of a window.
#[derive(Clone, Debug)]
pub struct LayerReading {
    /// Which.
    pub layer: Layer,
    /// Meter rows, worst ratio first within a signal.
    pub meters: Vec<Meter>,
    /// Counter rows that moved.
    pub counters: Vec<Counter>,
    /// Latency signals.
    pub latencies: Vec<LatencyReading>,
    /// Drops of this layer by reason, benign ones too.
    pub drops: Vec<DropRow>,
    /// What could not be seen of it.
    pub blind: Vec<Blind>,
    /// Whether any meter or error source of the layer could be read.
    pub sighted: bool,
}

/// The host's layers in one window: the value between `layer` and `verdict`.
#[derive(Clone, Debug)]
pub struct LayerMap {
    /// Window's end (`CLOCK_BOOTTIME`).
    pub boot_ns: u64,
    /// Window's length.
    pub elapsed_ns: u64,
    /// Seven readings, L1 first.
    pub layers: Vec<LayerReading>,
}

impl LayerMap {
    /// One layer's readings.
    pub fn layer(&self, layer: Layer) -> &LayerReading {
        &self.layers[layer.index()]
    }

    /// The rows of one meter.
    pub fn meters(&self, signal: &'static Signal) -> impl Iterator<Item = &Meter> {
        self.layer(signal.layer)
            .meters
            .iter()
            .filter(move |row| std::ptr::eq(row.signal, signal))
    }

    /// The rows of one counter that moved in the window.
    pub fn counters(&self, signal: &'static Signal) -> impl Iterator<Item = &Amount> {
        self.layer(signal.layer)
            .counters
            .iter()
            .filter(move |row| std::ptr::eq(row.signal, signal))
            .map(|row| &row.amount)
    }

    /// Whether the signal could not be read in this window.
    pub fn is_blind(&self, signal: &'static Signal) -> bool {
        self.layer(signal.layer)
            .blind
            .iter()
            .any(|blind| blind.what == signal.id)
    }

    /// Growth of one counter in a scope, 0 when it did not move.
    pub fn count(&self, signal: &'static Signal, scope: &Scope) -> u64 {
        self.counters(signal)
            .filter(|row| row.scope == *scope)
            .map(|row| row.delta)
            .sum()
    }
}

/// All signals, L1 first.
pub fn signals() -> impl Iterator<Item = &'static Signal> {
    [
        l1_physical::TOPICS,
        l2_data_link::TOPICS,
        l3_network::TOPICS,
        l4_transport::TOPICS,
        l5_session::TOPICS,
        l6_presentation::TOPICS,
        l7_application::TOPICS,
    ]
    .into_iter()
    .flatten()
    .flat_map(|topic| topic.iter().copied())
}

/// Declares a topic's rows: each becomes a static that causes can name, and all of them become the topic's `SIGNALS`.
///
/// `SIGNALS` is private to the layer, so that a topic which its layer's `TOPICS` forgets is dead code to the compiler.
macro_rules! rows {
    ($layer:expr; $( $name:ident: $help:literal { $($field:ident: $value:expr),* $(,)? } )*) => {
        $(
            #[doc = $help]
            pub static $name: $crate::layer::Signal =
                $crate::layer::Signal { layer: $layer, help: $help, $($field: $value),* };
        )*

        /// This topic's signals.
        pub(super) static SIGNALS: $crate::layer::Topic = &[$( &$name ),*];
    };
}
pub(crate) use rows;

/// The signals of one topic: one file below its layer's folder.
pub type Topic = &'static [&'static Signal];

#[cfg(test)]
mod tests;
