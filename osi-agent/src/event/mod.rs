//! Single events, rate-limited: what happened to which flow, interface and process.
//!
//! Pure: a window in, events out. The counts of the kernel maps are the truth and samples only lend them a face, so for
//! every key (kind, namespace, errno or reason, interface) the `count`s of a window's events add up to exactly what the
//! kernel counted in it. Drops for benign reasons are no events; they stand in the fault map's `drops_by_reason`.

use std::sync::Arc;

use osi_common::layer::Layer;
use schemars::JsonSchema;
use serde::Serialize;

use crate::host::workload::Workload;
use crate::layer::Window;
use crate::output::text::safe;
use crate::scope::{Iface, Netns, Process, Proto};

mod clock;

mod descriptors;

pub(crate) mod errno;

mod handshake;

mod host;

mod kernel;

mod listener;

mod name;

mod spread;

pub use clock::Clock;
pub(crate) use kernel::tls_failure;
pub(crate) use name::of_sample;

/// At most this many events per key and window; the last one carries the rest of the count.
pub const EVENTS_PER_KEY: usize = 4;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// No local port was left for a connect; or for a socket that wanted any, and then the reason is its protocol.
    PortExhausted,
    /// A connect failed for any other reason; without an errno the application gave up first.
    ConnectFailed,
    /// Handshakes with a peer took longer than `handshake_slow` allows for (its limit `budget_s`), those whose SYN was sent
    /// again excluded; its count is never more than there were, for times are known to 41 %.
    HandshakeSlow,
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
    /// A finished handshake was dropped because a listener's accept queue was full.
    AcceptOverflow,
    /// The kernel dropped a packet.
    Drop,
    /// A neighbour did not answer address resolution.
    NeighborFailed,
    /// A link changed; the reason says how.
    LinkChanged,
    /// An error ended an established connection that its application had not closed, idle ones among them: ECONNRESET where the
    /// other end reset it, EPIPE where it had closed its side before, ETIMEDOUT, EHOSTUNREACH or ENETUNREACH where it fell silent,
    /// ECONNABORTED where somebody on this host destroyed the socket (`ss -K`).
    SessionAborted,
    /// A process has as many descriptors as its limit allows (EMFILE), or the host has (ENFILE), which was not seen at the last
    /// look; who closes one and opens another is told each time.
    FdExhausted,
    /// A DNS query was answered with an error or not at all; the reason is the response code by its name, no_answer after five
    /// seconds, or sent_again before.
    DnsFailed,
    /// A TLS handshake came to no good end; the reason is the alert by its name in RFC 8446, encrypted_alert where nobody can
    /// read it, aborted_before_server_hello or aborted_after_server_hello where the connection ended without one, or no_answer
    /// after thirty seconds. Where the flow's protocol is UDP it was one of QUIC: quic_version_refused, no_answer, or
    /// quic_unfinished where the server answered and it did not end for as long.
    TlsFailed,
    /// An HTTP/1 request was answered with an error (4xx, 5xx) or not at all; the reason is the status code, or no_answer. The
    /// flow's source is the client, and the name is the method and the path.
    HttpError,
}

impl EventKind {
    /// Its name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PortExhausted => "port_exhausted",
            Self::ConnectFailed => "connect_failed",
            Self::HandshakeSlow => "handshake_slow",
            Self::Retransmit => "retransmit",
            Self::ResetSent => "reset_sent",
            Self::ResetReceived => "reset_received",
            Self::IcmpErrorReceived => "icmp_error_received",
            Self::IcmpErrorSent => "icmp_error_sent",
            Self::SynDropped => "syn_dropped",
            Self::AcceptOverflow => "accept_overflow",
            Self::Drop => "drop",
            Self::NeighborFailed => "neighbor_failed",
            Self::LinkChanged => "link_changed",
            Self::SessionAborted => "session_aborted",
            Self::FdExhausted => "fd_exhausted",
            Self::DnsFailed => "dns_failed",
            Self::TlsFailed => "tls_failed",
            Self::HttpError => "http_error",
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
    /// Who sent the ICMP error, or ended the TLS handshake; null for other kinds, and where none was sampled.
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
    /// Name that was asked for, of HTTP method and path without the query; null for other kinds, where none was sampled, and with
    /// `--no-names`.
    pub name: Option<String>,
    /// What ended the connect, as far as this host saw; null for other kinds.
    pub killed_by: Option<KilledBy>,
    /// This one and those suppressed since the last of its kind, namespace, reason and interface.
    pub count: u64,
    /// RFC 3339 time; the line's `ts`.
    #[serde(skip)]
    pub at: String,
}

impl Event {
    /// What happened so often in a namespace until the window's end, and nothing more.
    fn of(
        window: &Window,
        names: &Names,
        kind: EventKind,
        layer: Layer,
        netns: &Netns,
        count: u64,
    ) -> Self {
        Self {
            netns: Some(netns.clone()),
            ..Self::bare(kind, layer, count, names.clock.rfc3339(window.now.boot_ns))
        }
    }

    /// What happened how often and when, and nothing more.
    pub(crate) fn bare(kind: EventKind, layer: Layer, count: u64, at: String) -> Self {
        Self {
            kind,
            layer: layer.id().to_owned(),
            netns: None,
            flow: None,
            sender: None,
            iface: None,
            process: None,
            errno: None,
            reason: None,
            class: None,
            function: None,
            name: None,
            killed_by: None,
            count,
            at,
        }
    }
}

/// What ended a connect that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KilledBy {
    /// "L1" to "L7"; null where nobody knows.
    pub layer: Option<String>,
    /// The reason of the drop, or the function that dropped where the kernel gives none, where packets of the connect were
    /// dropped on this host; else no_port, reset, no_route, icmp_error, no_answer, given_up, other or unknown.
    pub what: String,
}

impl KilledBy {
    /// Of what the ledger tells.
    pub(crate) fn of(layer: Option<Layer>, what: &str) -> Self {
        Self {
            layer: layer.map(|layer| layer.id().to_owned()),
            what: safe(what).into_owned(),
        }
    }
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
    /// Start time in clock ticks since boot (`/proc/PID/stat` field 22); null when not known. With the pid, its identity.
    pub start_time: Option<u64>,
    /// Name of its main thread.
    pub comm: String,
    /// cgroup path, null when not known.
    pub cgroup: Option<String>,
    /// What that path tells.
    #[serde(flatten)]
    pub workload: Workload,
}

impl Actor {
    /// A process as the host shows it.
    fn of(process: &Process) -> Self {
        Self {
            pid: process.pid,
            start_time: (process.start_time != 0).then_some(process.start_time),
            comm: process.comm.clone(),
            cgroup: process.cgroup.clone(),
            workload: process.workload.clone(),
        }
    }
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
    /// Handshakes that took longer are events.
    pub slow_handshake_ns: u64,
}

/// The events of a window, in order of time.
pub fn events(window: &Window, names: &Names) -> Vec<Event> {
    let mut events = kernel::occurrences(window, names);
    events.append(&mut kernel::drops(window, names));
    let mut failed = host::neighbours(window, names);
    failed.append(&mut host::waiting_dropped(window, names, &failed));
    events.append(&mut failed);
    events.append(&mut host::links(window, names));
    events.append(&mut descriptors::exhausted(window, names));
    events.append(&mut handshake::slow(window, names));
    events.append(&mut listener::syns_dropped(window, names));
    events.append(&mut listener::accepts_overflowed(window, names));
    events.sort_by(|a, b| (&a.at, a.kind).cmp(&(&b.at, b.kind)));
    events
}

#[cfg(test)]
mod tests;
