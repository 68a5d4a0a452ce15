//! Single events, rate-limited: what happened to which flow, interface and process.
//!
//! Pure: a window in, events out. The counts of the kernel maps are the truth and samples only lend them a face, so for
//! every key (kind, namespace, errno or reason, interface) the `count`s of a window's events add up to exactly what the
//! kernel counted in it. Drops for benign reasons are no events; they stand in the fault map's `drops_by_reason`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::host::workload::Workload;
use crate::layer::Window;
use crate::scope::{Iface, Netns, Proto};

mod clock;

mod errno;

mod host;

mod kernel;

mod listener;

mod spread;

pub use clock::Clock;

/// At most this many events per key and window; the last one carries the rest of the count.
pub const EVENTS_PER_KEY: usize = 4;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// No local port was left for a connect.
    PortExhausted,
    /// A connect failed for any other reason; without an errno the application gave up first.
    ConnectFailed,
    /// TCP sent a segment again; the reason is the phase: handshake, syn_ack, data or close.
    Retransmit,
    /// This host sent a TCP reset.
    ResetSent,
    /// A TCP reset arrived; the reason is the state that it ended.
    ResetReceived,
    /// An ICMP error came in on an interface; the reason is what it says, by its name in the RFC.
    IcmpErrorReceived,
    /// An ICMP error left by an interface; the reason is what it says, by its name in the RFC.
    IcmpErrorSent,
    /// A SYN was dropped because a listener's queue of unfinished handshakes was full.
    SynDropped,
    /// The kernel dropped a packet.
    Drop,
    /// A neighbour did not answer address resolution.
    NeighborFailed,
    /// A link changed; the reason says how.
    LinkChanged,
}

impl EventKind {
    /// Its name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PortExhausted => "port_exhausted",
            Self::ConnectFailed => "connect_failed",
            Self::Retransmit => "retransmit",
            Self::ResetSent => "reset_sent",
            Self::ResetReceived => "reset_received",
            Self::IcmpErrorReceived => "icmp_error_received",
            Self::IcmpErrorSent => "icmp_error_sent",
            Self::SynDropped => "syn_dropped",
            Self::Drop => "drop",
            Self::NeighborFailed => "neighbor_failed",
            Self::LinkChanged => "link_changed",
        }
    }
}

/// One event, standing for `count` occurrences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The layer it happened on.
    pub layer: String,
    /// Network namespace; null where the kernel did not tell.
    pub netns: Option<Netns>,
    /// The flow; null where none was sampled.
    pub flow: Option<Flow>,
    /// Who sent the ICMP error; null for other kinds, and where none was sampled.
    pub sender: Option<String>,
    /// Interface; null where the occurrence has none.
    pub iface: Option<Iface>,
    /// The process, only where it is certain to be the actor.
    pub process: Option<Actor>,
    /// Error as the application sees it, by name.
    pub errno: Option<String>,
    /// Reason, phase, state or message, by kind.
    pub reason: Option<String>,
    /// Class of a drop reason: policy, capacity, corruption, config, peer or unclassified.
    pub class: Option<String>,
    /// Kernel function that dropped the packet.
    pub function: Option<String>,
    /// This one and those suppressed since the last of its kind, namespace, reason and interface.
    pub count: u64,
    /// RFC 3339 time; the line's `ts`.
    #[serde(skip)]
    pub at: String,
}

/// A flow: `src` is the socket's own end; for a dropped packet, or one that an ICMP error answers, the packet's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Flow {
    /// Source address.
    pub src: Option<String>,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination address.
    pub dst: Option<String>,
    /// Destination port.
    pub dport: Option<u16>,
    /// Transport protocol.
    pub proto: Option<Proto>,
}

/// The process of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Actor {
    /// Process id in the agent's pid namespace.
    pub pid: u32,
    /// Name of its main thread.
    pub comm: String,
    /// cgroup path, null when not known.
    pub cgroup: Option<String>,
    /// What that path tells.
    #[serde(flatten)]
    pub workload: Workload,
}

/// What turns the kernel's numbers into names, and what is in scope.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Boot time to wall-clock time.
    pub clock: Clock,
    /// Only namespaces in the snapshot count; what belongs to an unknown one is another's. False with `--netns all`.
    pub limited: bool,
    /// cgroup id to path.
    pub cgroup: &'a dyn Fn(u64) -> Option<String>,
    /// Raw `skb_drop_reason` and the function that freed the packet to a name, as the snapshot names them.
    pub drop_reason: &'a dyn Fn(u32, &str) -> Arc<str>,
    /// Kernel address to function name, as the snapshot names them.
    pub function: &'a dyn Fn(u64) -> Arc<str>,
    /// Raw `sk_rst_reason` to name; `None` where the kernel gives no reason.
    pub reset_reason: &'a dyn Fn(u32) -> Option<Arc<str>>,
}

/// The events of a window, in order of time.
pub fn events(window: &Window, names: &Names) -> Vec<Event> {
    let mut events = kernel::occurrences(window, names);
    events.append(&mut kernel::drops(window, names));
    let mut failed = host::neighbours(window, names);
    failed.append(&mut host::waiting_dropped(window, names, &failed));
    events.append(&mut failed);
    events.append(&mut host::links(window, names));
    events.append(&mut listener::syns_dropped(window, names));
    events.sort_by(|a, b| (&a.at, a.kind).cmp(&(&b.at, b.kind)));
    events
}

#[cfg(test)]
mod tests;
