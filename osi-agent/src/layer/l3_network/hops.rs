//! Packets whose hop limit ran out on the way.

use osi_common::drop::UNNAMED;
use osi_common::layer::Layer;

use crate::layer::drops::drops;
use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::ScopeKind;
use crate::snapshot::Mib;

rows! { Layer::L3;
    HOPS_EXHAUSTED: "Packets to be forwarded that had no hop left: they go round in a loop, or somebody traces a route." {
        id: "hops_exhausted",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["drops", "mibs"],
        since: "5.10",
        read: Read::Traffic(exhausted),
    }
}

/// The functions that forward; each drops for a few other reasons, too.
const FORWARDERS: [&str; 2] = ["ip_forward", "ip6_forward"];
/// The reason that they give when no hop is left.
const REASON: &str = "IP_INHDR";

/// Whether a packet that a function dropped for a reason may have been out of hops. Kernels before 5.18 name none.
pub fn is_exhausted(reason: &str, function: &str) -> bool {
    FORWARDERS.contains(&function) && [REASON, UNNAMED].contains(&reason)
}

/// Packets that ended for want of a hop, by namespace.
pub(super) fn exhausted(window: &Window, rows: &mut Vec<Amount>) {
    for row in drops(window, |key| is_exhausted(&key.reason, &key.function)) {
        let delta = match &row.scope.netns {
            // Without a reason, the counter of bad headers tells which of them had no hop left.
            Some(netns) if &*row.reason == UNNAMED => {
                let counters = [Mib::IpInHdrErrors, Mib::Ip6InHdrErrors];
                let headers = counters.map(|mib| window.mib_in(netns, mib));
                row.packets.min(headers.iter().sum())
            }
            Some(_) => row.packets,
            None => 0,
        };
        rows.push(Amount {
            scope: row.scope,
            delta,
        });
    }
}
