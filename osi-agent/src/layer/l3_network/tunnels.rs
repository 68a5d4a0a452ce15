//! Tunnel interfaces: packets that could not be put into the tunnel or taken out of it.

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Row, Source, Unit, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::{Link, LinkStats};

rows! { Layer::L3;
    TUNNEL_ERRORS: "Packets that could not be put into a tunnel, as without a route to its far end or a peer, or not be taken out of it. What WireGuard keeps for a peer that does not answer is counted beyond 128 packets, the rest after 90 seconds." {
        id: "tunnel_errors",
        unit: Unit::Packets,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["links"],
        since: "5.10",
        read: Read::Errors(errors),
    }
}

/// Kinds of links that wrap packets in packets (`IFLA_INFO_KIND`).
const KINDS: [&str; 18] = [
    "amt",
    "bareudp",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "sit",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
    "xfrm",
];

/// Whether the link is a tunnel.
pub fn is_tunnel(link: &Link) -> bool {
    link.kind
        .as_deref()
        .is_some_and(|kind| KINDS.contains(&kind))
}

/// Whether the driver counts as dropped (`tx_dropped`) what has nowhere to go, beside what it counts as errors.
///
/// WireGuard does so with what it kept for a peer that does not answer, and VXLAN with what has no far end. On a bridge that is
/// normal life: it floods every port, and a VXLAN port without far ends is one of them. Geneve drops what the host itself
/// sends on a tunnel whose far ends somebody else picks, which is normal life, too. Queueing disciplines count apart.
fn drops_what_is_lost(link: &Link) -> bool {
    match link.kind.as_deref() {
        Some("wireguard") => true,
        Some("vxlan") => link.master.is_none(),
        Some(_) | None => false,
    }
}

/// What went wrong on a tunnel in the window.
#[derive(Debug)]
pub struct Faults<'a> {
    /// The tunnel.
    pub link: &'a Link,
    /// Its scope.
    pub scope: Scope,
    /// Packets received wrongly.
    pub received: u64,
    /// Packets that could not be sent.
    pub sent: u64,
    /// Packets that it carried meanwhile, both ways.
    pub carried: u64,
}

/// Every tunnel's faults.
pub fn by_tunnel<'a>(window: &Window<'a>) -> impl Iterator<Item = Faults<'a>> + use<'a> {
    let tunnels = window.links().filter(|row| is_tunnel(row.now));
    tunnels.map(
        |Row {
             netns, now, before, ..
         }| {
            let growth = |field: fn(&LinkStats) -> u64| {
                field(&now.stats).saturating_sub(field(&before.stats))
            };
            let dropped = if drops_what_is_lost(now) {
                growth(|stats| stats.tx_dropped)
            } else {
                0
            };
            Faults {
                link: now,
                scope: Scope::iface(netns, now.iface.ifindex, &now.iface.name),
                received: growth(|stats| stats.rx_errors),
                sent: growth(|stats| stats.tx_errors) + dropped,
                carried: growth(|stats| stats.rx_packets + stats.tx_packets),
            }
        },
    )
}

fn errors(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(by_tunnel(window).map(|faults| Amount {
        scope: faults.scope,
        delta: faults.received + faults.sent,
    }));
}
