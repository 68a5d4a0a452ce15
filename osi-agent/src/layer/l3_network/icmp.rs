//! What ICMP says of this host's packets: they did not arrive, may not, or ran out of hops.

use std::collections::BTreeMap;

use osi_common::icmp::{self, Meaning};
use osi_common::layer::Layer;
use osi_common::occurrence::{Key, Kind};

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
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Traffic(|window, rows| rows.extend(taken(window, is_not_reached))),
    }
    ICMP_HOPS_EXHAUSTED: "ICMP messages of others that a packet of this host ran out of hops on its way." {
        id: "icmp_hops_exhausted",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Traffic(|window, rows| rows.extend(taken(window, is_expired))),
    }
    ICMP_ERRORS_SENT: "ICMP errors that this host sent, all interfaces together; an answer to a port scan is no fault." {
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

/// Messages of others that this host did not hand on, per namespace: they are about its own packets.
///
/// Both sides are counted by tc, message by message. The kernel's counters know the type only, and are read at another moment.
fn taken(window: &Window, wanted: fn(Meaning) -> bool) -> Vec<Amount> {
    let is_wanted = |key: &Key| icmp::message(key.code).is_some_and(|says| wanted(says.meaning));
    let mut messages: BTreeMap<(&Netns, u32), (u64, u64)> = BTreeMap::new();
    for (netns, key, count) in window.occurrences(Kind::IcmpErrorReceived) {
        if is_wanted(key) && !is_own(window, netns, key.ifindex) {
            messages.entry((netns, key.code)).or_default().0 += count.count;
        }
    }
    for (netns, key, count) in window.occurrences(Kind::IcmpErrorForwarded) {
        if is_wanted(key) {
            messages.entry((netns, key.code)).or_default().1 += count.count;
        }
    }
    let mut rows: BTreeMap<&Netns, u64> = BTreeMap::new();
    for ((netns, _), (received, forwarded)) in messages {
        *rows.entry(netns).or_default() += received.saturating_sub(forwarded);
    }
    let amount = |(netns, delta): (&Netns, u64)| Amount {
        scope: Scope::netns(netns),
        delta,
    };
    rows.into_iter().map(amount).collect()
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
