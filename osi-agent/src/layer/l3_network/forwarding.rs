//! The way of packets through this host, where it is a router.

use osi_common::latency::Latency;
use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;

rows! { Layer::L3;
    FORWARDING: "Time that packets take through this host, from one interface to another, of one packet in 64; the queue for sending is not part of it." {
        id: "forwarding",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Latency(Latency::Forwarding),
    }
}
