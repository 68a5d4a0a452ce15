//! Packets that a rule set dropped.

use osi_common::layer::Layer;

use crate::layer::drops::drops;
use crate::layer::{Amount, DropRow, Read, Source, Unit, Window, rows};
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

/// Whether the row stands for a verdict of a packet filter.
pub fn by_rule(row: &DropRow) -> bool {
    row.reason.starts_with(REASON)
}
