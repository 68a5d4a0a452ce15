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
        since: "5.17",
        read: Read::Drops(dropped),
    }
}

/// What every reason that stands for a rule's verdict begins with.
pub const REASON: &str = "NETFILTER";

fn dropped(window: &Window, rows: &mut Vec<Amount>) {
    let by_rules = drops(window).into_iter().filter(by_rule);
    rows.extend(by_rules.map(|row| Amount {
        scope: row.scope,
        delta: row.packets,
    }));
}

/// The rows that stand for verdicts of packet filters.
pub fn by_rules(map: &LayerMap) -> impl Iterator<Item = &DropRow> {
    let rows = map.layers.iter().flat_map(|layer| &layer.drops);
    rows.filter(|row| by_rule(row))
}

/// Whether the row stands for a verdict of a packet filter.
fn by_rule(row: &DropRow) -> bool {
    row.reason.starts_with(REASON)
}
