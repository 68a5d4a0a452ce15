//! Frames that arrive and that nothing on this host takes.

use osi_common::drop::UNNAMED;
use osi_common::layer::Layer;

use super::programs;
use crate::layer::drops::drops;
use crate::layer::{Amount, DropRow, Read, Row, Source, Unit, Window, rows};
use crate::scope::{Scope, ScopeKind};

rows! { Layer::L2;
    FRAMES_REJECTED: "Frames received that nothing on this host takes: of an unknown protocol, for another address or VLAN, or with a broken header." {
        id: "frames_rejected_frames",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["drops"],
        since: "5.17",
        // A few are normal life, so they are no errors by themselves: discovery protocols, flooded frames.
        read: Read::Traffic(rejected),
    }
    FRAMES_RECEIVED: "Frames that the namespace's interfaces received, loopback excluded." {
        id: "frames_received",
        unit: Unit::Packets,
        source: Source::Netlink,
        scope: ScopeKind::Netns,
        fed_by: &["links"],
        since: "5.10",
        read: Read::Traffic(received),
    }
}

/// The reason of a frame that no protocol on this host handles (`__netif_receive_skb_core`).
pub const UNKNOWN_PROTOCOL: &str = "UNHANDLED_PROTO";
/// The reason of a packet in a frame for another address or VLAN (`ip_rcv_core`, `ip6_rcv_core`).
pub const WRONG_ADDRESS: &str = "OTHERHOST";
/// Where both kinds of frames end on kernels that name no reasons.
const RECEIVER: &str = "__netif_receive_skb_core";

/// Every reason that counts as rejected.
pub const REASONS: [&str; 7] = [
    UNKNOWN_PROTOCOL,
    WRONG_ADDRESS,
    "LOCAL_MAC",
    "MAC_INVALID_SOURCE",
    "UNICAST_IN_L2_MULTICAST",
    "HDR_TRUNC",
    "DEV_HDR",
];

/// Whether a frame that a function dropped for a reason was rejected.
pub fn is_rejected(reason: &str, function: &str) -> bool {
    REASONS.contains(&reason) || reason == UNNAMED && function == RECEIVER
}

fn rejected(window: &Window, rows: &mut Vec<Amount>) {
    let dropped = drops(window, |key| is_rejected(&key.reason, &key.function));
    rows.extend(
        dropped
            .into_iter()
            // Without reasons, what a tc filter dropped ends in the same function.
            .filter(|row| &*row.reason != UNNAMED || !programs::filters_drop(window, &row.scope))
            .filter(|row| &*row.reason != WRONG_ADDRESS || !listens_to_all(window, &row.scope))
            .map(|row| Amount {
                delta: row.packets.saturating_sub(standing_by(window, &row)),
                scope: row.scope,
            }),
    );
}

/// Frames among the dropped ones that a member of a bond received while it stood by: its partner received them, too.
fn standing_by(window: &Window, row: &DropRow) -> u64 {
    if ![UNKNOWN_PROTOCOL, UNNAMED].contains(&&*row.reason) {
        return 0;
    }
    let here = window
        .links()
        .filter(|link| row.scope.netns.as_ref() == Some(link.netns));
    here.map(|link| {
        let (now, before) = (&link.now.stats, &link.before.stats);
        now.rx_nohandler.saturating_sub(before.rx_nohandler)
    })
    .sum()
}

/// Whether an interface in the scope asks for frames that are not for it, as captures and bridges do.
fn listens_to_all(window: &Window, scope: &Scope) -> bool {
    let state = window
        .now
        .namespaces
        .iter()
        .find(|state| Some(&state.netns) == scope.netns.as_ref());
    state.is_some_and(|state| state.links.iter().any(|link| link.promiscuity > 0))
}

fn received(window: &Window, rows: &mut Vec<Amount>) {
    let links = window.links().filter(|row| !row.now.loopback);
    rows.extend(links.map(
        |Row {
             netns, now, before, ..
         }| Amount {
            scope: Scope::netns(netns),
            delta: now.stats.rx_packets.saturating_sub(before.stats.rx_packets),
        },
    ));
}
