//! Packets whose IP header cannot be right, and senders that cannot be.

use osi_common::drop::UNNAMED;
use osi_common::layer::Layer;

use super::hops;
use crate::layer::drops::drops;
use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::{DropKey, Mib};

rows! { Layer::L3;
    IP_MALFORMED: "Packets dropped because their IP header has a wrong version, length or checksum; not those that had no hop left." {
        id: "ip_malformed",
        unit: Unit::Packets,
        source: Source::Derived,
        scope: ScopeKind::Netns,
        fed_by: &["mibs", "drops"],
        since: "5.10",
        read: Read::Drops(header_errors),
    }
    MARTIANS: "Packets dropped because their source or destination cannot be in a packet that comes in." {
        id: "martians",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["drops"],
        since: "6.15",
        read: Read::Drops(martians),
    }
}

/// Reasons of what [`IP_MALFORMED`] counts: `ip_rcv_core`, `ip6_rcv_core`.
pub const MALFORMED: [&str; 4] = ["IP_INHDR", "IP_CSUM", "PKT_TOO_SMALL", "IPV6_BAD_EXTHDR"];

/// Reasons of what [`MARTIANS`] counts: `ip_route_input_slow`, RFC 1812 section 5.3.7.
pub const MARTIAN: [&str; 4] = [
    "IP_INVALID_SOURCE",
    "IP_INVALID_DEST",
    "IP_LOCALNET",
    "IP_LOCAL_SOURCE",
];

/// The functions that look at headers first; before 5.19 not both name a reason.
const RECEIVERS: [&str; 2] = ["ip_rcv_core", "ip6_rcv_core"];

const COUNTERS: [Mib; 4] = [
    Mib::IpInHdrErrors,
    Mib::IpInTruncatedPkts,
    Mib::Ip6InHdrErrors,
    Mib::Ip6InTruncatedPkts,
];

/// Whether a drop with a reason is one of what [`IP_MALFORMED`] counts.
fn is_malformed(key: &DropKey) -> bool {
    // TCP and UDP say that of their own headers, too.
    let of_ip = &*key.reason != "PKT_TOO_SMALL" || RECEIVERS.contains(&&*key.function);
    MALFORMED.contains(&&*key.reason) && of_ip && !hops::is_exhausted(&key.reason, &key.function)
}

/// Whether a drop without a reason may be one of them.
fn may_be_malformed(key: &DropKey) -> bool {
    &*key.reason == UNNAMED && RECEIVERS.contains(&&*key.function)
}

/// Where drops have reasons these are counted. Elsewhere the counters decide, since packets for other hosts end in the same
/// functions. They include packets without a hop, and are read at another moment than the drops: in a window in which hops ran
/// out they say something only where a drop of another kind was seen.
fn header_errors(window: &Window, rows: &mut Vec<Amount>) {
    let named = drops(window, is_malformed);
    let seen = drops(window, may_be_malformed);
    let mut expired = Vec::new();
    hops::exhausted(window, &mut expired);
    for (state, _) in window.namespaces() {
        let scope = Scope::netns(&state.netns);
        let of_routers = of(&scope, &expired, |row| (&row.scope, row.delta));
        let is_seen = seen.iter().any(|row| row.scope == scope);
        let mut delta = of(&scope, &named, |row| (&row.scope, row.packets));
        if delta == 0 && (is_seen || window.now.kernel.nameless && of_routers == 0) {
            let counted = COUNTERS.map(|mib| window.mib_in(&state.netns, mib));
            delta = counted.iter().sum::<u64>().saturating_sub(of_routers);
        }
        rows.push(Amount { scope, delta });
    }
}

/// What rows of a scope come to.
fn of<R>(scope: &Scope, rows: &[R], figure: impl Fn(&R) -> (&Scope, u64)) -> u64 {
    let figures = rows.iter().map(figure);
    figures
        .filter(|(of, _)| *of == scope)
        .map(|(_, delta)| delta)
        .sum()
}

fn martians(window: &Window, rows: &mut Vec<Amount>) {
    let dropped = drops(window, |key| MARTIAN.contains(&&*key.reason));
    rows.extend(dropped.into_iter().map(|row| Amount {
        scope: row.scope,
        delta: row.packets,
    }));
}
