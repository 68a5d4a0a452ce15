//! What ICMP says of this host's packets: they did not arrive, may not, or ran out of hops.

use std::collections::BTreeMap;

use osi_common::icmp::{self, Meaning};
use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::{Netns, Scope, ScopeKind};
use crate::snapshot::Mib;

rows! { Layer::L3;
    ICMP_UNREACHABLE_RECEIVED: "ICMP destination unreachable messages received; those about closed ports are among them, and this host's own." {
        id: "icmp_unreachable_received",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::IcmpInDestUnreachs))),
    }
    ICMP6_UNREACHABLE_RECEIVED: "ICMPv6 destination unreachable messages received; those about closed ports are among them, and this host's own." {
        id: "icmp6_unreachable_received",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::Icmp6InDestUnreachs))),
    }
    ICMP_TIME_EXCEEDED_RECEIVED: "ICMP time exceeded messages received; whoever traces a route asks for them." {
        id: "icmp_time_exceeded_received",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::IcmpInTimeExcds))),
    }
    ICMP6_TIME_EXCEEDED_RECEIVED: "ICMPv6 time exceeded messages received; whoever traces a route asks for them." {
        id: "icmp6_time_exceeded_received",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::Icmp6InTimeExcds))),
    }
    ICMP_NOT_REACHED: "ICMP messages of others that a packet of this host can not or may not reach its destination; closed ports and packet sizes are no part of it." {
        id: "icmp_not_reached",
        unit: Unit::Packets,
        source: Source::Derived,
        scope: ScopeKind::Netns,
        fed_by: &["tc", "mibs"],
        since: "5.10",
        read: Read::Traffic(|window, rows| rows.extend(taken(window, is_not_reached))),
    }
    ICMP_HOPS_EXHAUSTED: "ICMP messages of others that a packet of this host ran out of hops on its way." {
        id: "icmp_hops_exhausted",
        unit: Unit::Packets,
        source: Source::Derived,
        scope: ScopeKind::Netns,
        fed_by: &["tc", "mibs"],
        since: "5.10",
        read: Read::Traffic(|window, rows| rows.extend(taken(window, is_expired))),
    }
    ICMP_ERRORS_SENT: "ICMP errors that left, all interfaces together; an answer to a port scan is no fault, and what a router hands on is counted, too." {
        id: "icmp_errors_sent",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Traffic(|window, rows| rows.extend(window.occurrence_rows(Kind::IcmpErrorSent, |_| true))),
    }
}

/// Whether a message says that the destination can not or may not be reached.
pub const fn is_not_reached(meaning: Meaning) -> bool {
    matches!(meaning, Meaning::Unreachable | Meaning::Prohibited)
}

/// Whether a message says that no hop was left.
pub const fn is_expired(meaning: Meaning) -> bool {
    matches!(meaning, Meaning::Expired)
}

/// Messages of others that the kernel took for its own packets, per namespace.
///
/// tc sees who says what, also what a router only hands on; the kernel counts what it took, by type only. So of the messages
/// of a type, those that are not meant here are taken off the kernel's count, and no more than the rest can be.
fn taken(window: &Window, wanted: fn(Meaning) -> bool) -> Vec<Amount> {
    let mut seen: BTreeMap<(&Netns, Mib), (u64, u64)> = BTreeMap::new();
    for (netns, key, count) in window.occurrences(Kind::IcmpErrorReceived) {
        let (Some(mib), Some(message)) = (counter(key.code), icmp::message(key.code)) else {
            continue;
        };
        let (meant, other) = seen.entry((netns, mib)).or_default();
        if wanted(message.meaning) && !is_own(window, netns, key.ifindex) {
            *meant += count.count;
        } else {
            *other += count.count;
        }
    }
    let mut rows: BTreeMap<&Netns, u64> = BTreeMap::new();
    for ((netns, mib), (meant, other)) in seen {
        let taken = window.mib_in(netns, mib).saturating_sub(other);
        *rows.entry(netns).or_default() += meant.min(taken);
    }
    let amount = |(netns, delta): (&Netns, u64)| Amount {
        scope: Scope::netns(netns),
        delta,
    };
    rows.into_iter().map(amount).collect()
}

/// The kernel's counter of messages of this type.
const fn counter(number: u32) -> Option<Mib> {
    match icmp::kind(number) {
        (false, 3) => Some(Mib::IcmpInDestUnreachs),
        (true, 1) => Some(Mib::Icmp6InDestUnreachs),
        (false, 11) => Some(Mib::IcmpInTimeExcds),
        (true, 3) => Some(Mib::Icmp6InTimeExcds),
        (false | true, _) => None,
    }
}

/// Whether a message came in where this host answers itself: a neighbour that stays silent ends in such a message, too.
pub fn is_own(window: &Window, netns: &Netns, ifindex: u32) -> bool {
    let mut states = window.now.namespaces.iter();
    states
        .find(|state| state.netns == *netns)
        .is_some_and(|state| {
            let mut links = state.links.iter();
            links.any(|link| link.loopback && link.iface.ifindex == ifindex)
        })
}
