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

/// The functions that look at headers first; before 5.17 they name no reason.
const RECEIVERS: [&str; 2] = ["ip_rcv_core", "ip6_rcv_core"];

/// Whether a drop may be one of what [`IP_MALFORMED`] counts.
fn may_be_malformed(key: &DropKey) -> bool {
    let named = MALFORMED.contains(&&*key.reason);
    let unnamed = RECEIVERS.contains(&&*key.function) && &*key.reason == UNNAMED;
    (named || unnamed) && !hops::is_exhausted(&key.reason, &key.function)
}

/// The counters include packets without a hop, which are no fault of the header. As counters and drops are read one
/// after the other, the difference says something only where a drop of another kind was seen.
fn header_errors(window: &Window, rows: &mut Vec<Amount>) {
    let mut expired = Vec::new();
    hops::exhausted(window, &mut expired);
    let seen = drops(window, may_be_malformed);
    for (state, _) in window.namespaces() {
        let scope = Scope::netns(&state.netns);
        if !seen.iter().any(|row| row.scope == scope) {
            rows.push(Amount { scope, delta: 0 });
            continue;
        }
        let counted = [
            Mib::IpInHdrErrors,
            Mib::IpInTruncatedPkts,
            Mib::Ip6InHdrErrors,
            Mib::Ip6InTruncatedPkts,
        ];
        let counted = counted.map(|mib| window.mib_in(&state.netns, mib));
        let of_routers = expired.iter().filter(|row| row.scope == scope);
        let of_routers: u64 = of_routers.map(|row| row.delta).sum();
        rows.push(Amount {
            scope,
            delta: counted.iter().sum::<u64>().saturating_sub(of_routers),
        });
    }
}

fn martians(window: &Window, rows: &mut Vec<Amount>) {
    let dropped = drops(window, |key| MARTIAN.contains(&&*key.reason));
    rows.extend(dropped.into_iter().map(|row| Amount {
        scope: row.scope,
        delta: row.packets,
    }));
}
