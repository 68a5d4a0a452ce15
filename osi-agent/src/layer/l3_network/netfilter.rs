//! Packets that a rule set dropped.

use osi_common::layer::Layer;

use crate::layer::drops::drops;
use crate::layer::{Amount, DropRow, LayerMap, Read, Source, Unit, Window, rows};
use crate::scope::ScopeKind;

rows! { Layer::L3;
    NETFILTER_DROPS: "Packets that nftables or iptables rules dropped, those of a full connection tracking table included." {
        id: "netfilter_drops",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["drops"],
        since: "5.10",
        read: Read::Drops(dropped),
    }
}

/// What every reason that stands for a rule's verdict begins with.
pub const REASON: &str = "NETFILTER";

fn dropped(window: &Window, rows: &mut Vec<Amount>) {
    let by_rules = drops(window, |key| is_verdict(&key.reason));
    rows.extend(by_rules.into_iter().map(|row| Amount {
        scope: row.scope,
        delta: row.packets,
    }));
}

/// The rows that stand for verdicts of packet filters.
pub fn by_rules(map: &LayerMap) -> impl Iterator<Item = &DropRow> {
    map.drops().filter(|row| is_verdict(&row.reason))
}

/// Whether a kernel function belongs to nftables.
pub fn is_nftables(function: &str) -> bool {
    function.starts_with("nft_")
}

/// Whether the reason stands for a verdict of a packet filter.
fn is_verdict(reason: &str) -> bool {
    reason.starts_with(REASON)
}
