//! The neighbour table: how full, and who does not answer.

use osi_common::latency::Latency;
use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::{HostState, Neighbour, Neighbours};

rows! { Layer::L2;
    NEIGHBOUR_ENTRIES: "IPv4 neighbours known in all namespaces; at gc_thresh3 no new one can be reached." {
        id: "neighbour_entries",
        unit: Unit::Entries,
        source: Source::Netlink,
        scope: ScopeKind::Host,
        fed_by: &["neighbours", "neighbour_tables"],
        since: "2.6",
        read: Read::Capacity(entries),
    }
    NEIGHBOUR_ENTRIES_V6: "IPv6 neighbours known in all namespaces; at gc_thresh3 no new one can be reached." {
        id: "neighbour_entries_v6",
        unit: Unit::Entries,
        source: Source::Netlink,
        scope: ScopeKind::Host,
        fed_by: &["neighbours", "neighbour_tables"],
        since: "2.6",
        read: Read::Capacity(entries_v6),
    }
    NEIGHBOUR_OVERFLOWS: "Neighbours of all namespaces that could not be asked for because the table was full." {
        id: "neighbour_overflows",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["neighbour_tables"],
        since: "2.6",
        read: Read::Errors(overflows),
    }
    NEIGHBOURS_INCOMPLETE: "Neighbours that have been asked for their link address and have not answered yet." {
        id: "neighbours_incomplete",
        unit: Unit::Entries,
        source: Source::Netlink,
        scope: ScopeKind::Netns,
        fed_by: &["neighbours"],
        since: "2.6",
        read: Read::Indicator(incomplete),
    }
    NEIGHBOUR_FAILED: "Neighbours that were given up in the window because they did not answer." {
        id: "neighbour_failed",
        unit: Unit::Events,
        source: Source::Netlink,
        scope: ScopeKind::Netns,
        fed_by: &["neighbours"],
        since: "2.6",
        read: Read::Errors(failed),
    }
    NEIGHBOUR_RESOLUTION: "Time until a neighbour answers for the first time; a failed one that is asked again is not timed." {
        id: "neighbour_resolution",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["neighbours_created", "neighbours_updated"],
        since: "5.3",
        read: Read::Latency(Latency::NeighbourResolution),
    }
}

fn entries(window: &Window, rows: &mut Vec<Use>) {
    table(
        window,
        rows,
        |table| table.entries_v4,
        window.host().neighbour_table_v4.limit,
    );
}

fn entries_v6(window: &Window, rows: &mut Vec<Use>) {
    table(
        window,
        rows,
        |table| table.entries_v6,
        window.host().neighbour_table_v6.limit,
    );
}

/// The kernel has one table per family for all namespaces.
fn table(
    window: &Window,
    rows: &mut Vec<Use>,
    entries: fn(&Neighbours) -> u64,
    limit: Option<u64>,
) {
    let used: u64 = window
        .now
        .namespaces
        .iter()
        .map(|state| entries(&state.neighbours))
        .sum();
    rows.push(Use {
        scope: Scope::host(),
        used: used as f64,
        capacity: limit.map(|limit| limit as f64),
        lower_bound: window.single_netns,
    });
}

fn overflows(window: &Window, rows: &mut Vec<Amount>) {
    for table in [
        |host: &HostState| host.neighbour_table_v4,
        |host: &HostState| host.neighbour_table_v6,
    ] {
        let [before, now] =
            [&window.previous.host, window.host()].map(|host| table(host).overflows);
        rows.extend(before.zip(now).map(|(before, now)| Amount {
            scope: Scope::host(),
            delta: now.saturating_sub(before),
        }));
    }
}

fn incomplete(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(window.now.namespaces.iter().map(|state| {
        let waiting = state
            .neighbours
            .unresolved
            .iter()
            .filter(|neighbour| !neighbour.failed)
            .count();
        Use {
            scope: Scope::netns(&state.netns),
            used: waiting as f64,
            capacity: None,
            lower_bound: false,
        }
    }));
}

fn failed(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(window.now.namespaces.iter().map(|state| {
        let fresh = state
            .neighbours
            .unresolved
            .iter()
            .filter(|neighbour| is_fresh(window, neighbour));
        Amount {
            scope: Scope::netns(&state.netns),
            delta: fresh.count() as u64,
        }
    }));
}

/// Neighbours that have been asked for and have not answered yet.
pub fn waiting<'a>(window: &Window<'a>) -> impl Iterator<Item = &'a Neighbour> + use<'a> {
    let entries = window.now.namespaces.iter();
    entries
        .flat_map(|state| &state.neighbours.unresolved)
        .filter(|neighbour| !neighbour.failed)
}

/// Whether the entry failed in this window: failed ones are left in the table until it is cleaned up.
pub fn is_fresh(window: &Window, neighbour: &Neighbour) -> bool {
    neighbour.failed && neighbour.updated_ns <= window.elapsed_ns()
}
