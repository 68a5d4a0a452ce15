//! Addresses that more than one host on the link has, or had a moment ago.

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};

rows! { Layer::L2;
    NEIGHBOUR_MOVES: "Neighbours that answer with another hardware address than a window before: once is a fail-over." {
        id: "neighbour_moves",
        unit: Unit::Events,
        source: Source::Netlink,
        scope: ScopeKind::Peer,
        fed_by: &["neighbours"],
        since: "2.6",
        // A fail-over is what keeps a host reachable, so it is no error.
        read: Read::Traffic(moves),
    }
    DAD_FAILED: "Own IPv6 addresses that are not used because somebody else on the link has them." {
        id: "dad_failed_addresses",
        unit: Unit::Entries,
        source: Source::Netlink,
        scope: ScopeKind::Netns,
        fed_by: &["addresses"],
        since: "2.6",
        read: Read::Indicator(dad_failed),
    }
}

fn moves(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(window.holders().map(|row| Amount {
        scope: Scope::neighbour(row.netns, &row.now.iface, row.now.address),
        delta: u64::from(row.now.link_address != row.before.link_address),
    }));
}

fn dad_failed(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(window.now.namespaces.iter().map(|state| Use {
        scope: Scope::netns(&state.netns),
        used: state.refused_addresses().count() as f64,
        capacity: None,
        lower_bound: false,
    }));
}
