//! Round-trip times of connections, and the least that their paths allow.

use osi_common::latency::Latency;
use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;

rows! { Layer::L4;
    TCP_RTT: "Round-trip time of TCP connections as the kernel smooths it: of each at its end, and of those that send, as often as they send." {
        id: "tcp_rtt",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Latency(Latency::RoundTrip),
    }
    TCP_RTT_LEAST: "Least round-trip time of the same connections in the last minutes: the path without its queues." {
        id: "tcp_rtt_least",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Latency(Latency::LeastRoundTrip),
    }
}
