//! Packets whose hop limit ran out on the way.

use osi_common::layer::Layer;

use crate::layer::drops::drops;
use crate::layer::{Amount, DropRow, Read, Source, Unit, Window, rows};
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
/// What kernels before 5.18 give.
const NO_REASON: &str = "NOT_SPECIFIED";

/// Whether a packet that a function dropped for a reason may have been out of hops.
pub fn is_exhausted(reason: &str, function: &str) -> bool {
    FORWARDERS.contains(&function) && [REASON, NO_REASON].contains(&reason)
}

fn exhausted(window: &Window, rows: &mut Vec<Amount>) {
    for row in drops(window) {
        let packets = by_forwarders(&row);
        let delta = match &row.scope.netns {
            // Without a reason, the counter of bad headers tells which of them had no hop left.
            Some(netns) if &*row.reason == NO_REASON => {
                let counters = [Mib::IpInHdrErrors, Mib::Ip6InHdrErrors];
                let headers = counters.map(|mib| window.mib_in(netns, mib));
                packets.min(headers.iter().sum())
            }
            Some(_) => packets,
            None => 0,
        };
        rows.push(Amount {
            scope: row.scope,
            delta,
        });
    }
}

fn by_forwarders(row: &DropRow) -> u64 {
    row.functions
        .iter()
        .filter(|(function, _)| is_exhausted(&row.reason, function))
        .map(|(_, packets)| packets)
        .sum()
}
