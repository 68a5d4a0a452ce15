//! Packets that a rule set dropped.

use osi_common::layer::Layer;

use crate::layer::drops::drops;
use crate::layer::l4_transport::conntrack::{self, CONNTRACK_DROPS};
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

/// Functions in which the verdict of any hook may end, also that of connection tracking; the first where symbols can not be
/// read.
const SHARED: [&str; 2] = ["", "nf_hook_slow"];

/// The counters of connection tracking are read a moment before the drops are: so many of its own may be left over.
const SKEW: u64 = 3;

/// The rows that stand for verdicts of packet filters, without what connection tracking dropped.
pub fn by_rules(map: &LayerMap) -> impl Iterator<Item = DropRow> {
    map.drops()
        .filter(|row| is_verdict(&row.reason))
        .filter_map(|row| without_tracking(map, row))
}

/// What is left of a row; none where a full table explains all of it.
fn without_tracking(map: &LayerMap, row: &DropRow) -> Option<DropRow> {
    let is_shared = |function: &str| SHARED.contains(&function);
    let functions = row.functions.iter();
    let shared: u64 = functions
        .filter(|(function, _)| is_shared(function))
        .map(|(_, packets)| packets)
        .sum();
    let tracked = conntrack::dropped(map, &row.scope);
    let is_all = if tracked > 0 {
        shared <= tracked.saturating_add(tracked / 4 + SKEW)
    } else {
        map.is_blind(&CONNTRACK_DROPS) && conntrack::is_full(map, &row.scope)
    };
    let taken = if is_all { shared } else { tracked.min(shared) };
    let mut rest = row.clone();
    let mut left = taken;
    for (function, packets) in &mut rest.functions {
        if is_shared(function) {
            let part = left.min(*packets);
            (*packets, left) = (*packets - part, left - part);
        }
    }
    rest.functions.retain(|(_, packets)| *packets > 0);
    rest.packets = row.packets.saturating_sub(taken);
    rest.segments = row.segments.saturating_sub(taken);
    (rest.packets > 0).then_some(rest)
}

/// Whether only functions that are not a rule set's alone dropped these.
pub fn is_anybodys(row: &DropRow) -> bool {
    let mut functions = row.functions.iter();
    functions.all(|(function, _)| SHARED.contains(&&**function))
}

/// Whether a kernel function belongs to nftables.
pub fn is_nftables(function: &str) -> bool {
    function.starts_with("nft_")
}

/// Whether the reason stands for a verdict of a packet filter.
fn is_verdict(reason: &str) -> bool {
    reason.starts_with(REASON)
}
