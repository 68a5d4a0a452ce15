//! Packets whose hop limit ran out on the way.

use osi_common::layer::Layer;

use crate::layer::drops::drops;
use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::ScopeKind;

rows! { Layer::L3;
    HOPS_EXHAUSTED: "Packets to be forwarded that had no hop left: they go round in a loop, or somebody traces a route. Linux 5.17 and 5.18 do not tell." {
        id: "hops_exhausted",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["drops"],
        since: "5.10",
        read: Read::Traffic(exhausted),
    }
}

/// The functions that forward; each drops for a few other reasons, too.
const FORWARDERS: [&str; 2] = ["ip_forward", "ip6_forward"];
/// The reason that they give when no hop is left.
const REASON: &str = "IP_INHDR";

/// Whether a packet that a function dropped for a reason was out of hops.
pub fn is_exhausted(reason: &str, function: &str) -> bool {
    FORWARDERS.contains(&function) && reason == REASON
}

/// Packets that ended for want of a hop, by namespace.
pub(super) fn exhausted(window: &Window, rows: &mut Vec<Amount>) {
    let dropped = drops(window, |key| is_exhausted(&key.reason, &key.function));
    let known = dropped.into_iter().filter(|row| row.scope.netns.is_some());
    rows.extend(known.map(|row| Amount {
        scope: row.scope,
        delta: row.packets,
    }));
}
