//! The connection tracking table.

use osi_common::layer::Layer;

use crate::layer::{Amount, LayerMap, Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::Conntrack;

rows! { Layer::L4;
    CONNTRACK: "Entries in the connection tracking table; at net.netfilter.nf_conntrack_max packets of new connections are dropped." {
        id: "conntrack",
        unit: Unit::Entries,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["conntrack"],
        since: "2.6",
        read: Read::Capacity(entries),
    }
    CONNTRACK_DROPS: "Packets dropped because connection tracking had no room for their connection." {
        id: "conntrack_drops",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["conntrack_counts"],
        since: "2.6",
        read: Read::Errors(|window, rows| grown(window, rows, |counts| {
            // What could not be entered and has a chain is counted among the drops, too (`nf_ct_resolve_clash()`); what is left
            // had no room (`nf_conntrack_in()`).
            counts.dropped.saturating_sub(counts.insert_failed.saturating_sub(counts.chain_too_long))
        })),
    }
    CONNTRACK_CHAINS_FULL: "Packets dropped because too many connections share their place in the hash table of connection tracking." {
        id: "conntrack_chains_full",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["conntrack_counts"],
        since: "5.15",
        read: Read::Errors(|window, rows| grown(window, rows, |counts| counts.chain_too_long)),
    }
    CONNTRACK_INSERT_FAILURES: "Packets dropped because another connection has the addresses and ports of theirs, as after NAT." {
        id: "conntrack_insert_failures",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["conntrack_counts"],
        since: "2.6",
        read: Read::Errors(|window, rows| grown(window, rows, |counts| {
            counts.insert_failed.saturating_sub(counts.chain_too_long)
        })),
    }
    CONNTRACK_EVICTIONS: "Connections that the kernel forgot before their time to make room in a full table." {
        id: "conntrack_evictions",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["conntrack_counts"],
        since: "2.6",
        read: Read::Errors(|window, rows| grown(window, rows, |counts| counts.evicted)),
    }
}

/// From this share on a table counts as full: it may have been, and entries go at any time.
pub const FULL: f64 = 0.95;

/// A maximum of 0 is none.
fn entries(window: &Window, rows: &mut Vec<Use>) {
    let namespaces = window.now.namespaces.iter();
    rows.extend(namespaces.filter_map(|state| {
        let mut row = Use::of_gauge(Scope::netns(&state.netns), state.conntrack?);
        row.capacity = row.capacity.filter(|limit| *limit > 0.0);
        Some(row)
    }));
}

/// Works with what the counters grew by: their sums since the host was started hold other times' failures.
fn grown(window: &Window, rows: &mut Vec<Amount>, of: fn(&Conntrack) -> u64) {
    rows.extend(window.namespaces().filter_map(|(now, old)| {
        let (now_counts, old_counts) = (now.conntrack_counts?, old?.conntrack_counts?);
        Some(Amount {
            scope: Scope::netns(&now.netns),
            delta: of(&now_counts.since(&old_counts)),
        })
    }));
}

/// Packets that connection tracking dropped in a namespace in the window, for whatever reason.
pub fn dropped(map: &LayerMap, scope: &Scope) -> u64 {
    let all = [
        &CONNTRACK_DROPS,
        &CONNTRACK_CHAINS_FULL,
        &CONNTRACK_INSERT_FAILURES,
    ];
    all.into_iter().map(|signal| map.count(signal, scope)).sum()
}

/// Whether the table of a namespace is full, or nearly.
pub fn is_full(map: &LayerMap, scope: &Scope) -> bool {
    let mut here = map.meters(&CONNTRACK);
    let here = here.find(|row| row.reading.scope == *scope);
    here.and_then(|row| row.ratio)
        .is_some_and(|ratio| ratio >= FULL)
}
