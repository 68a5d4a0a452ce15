//! How many addresses bridges have learned.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};

rows! { Layer::L2;
    FDB_ENTRIES: "Link addresses that a bridge has learned; at its fdb_max_learned, if it has one, frames to others go out of every port." {
        id: "fdb_entries",
        unit: Unit::Entries,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["links"],
        since: "6.7",
        read: Read::Capacity(entries),
    }
}

fn entries(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(window.links().filter_map(|row| {
        let fdb = row.now.fdb?;
        Some(Use {
            scope: Scope::iface(row.netns, row.now.iface.ifindex, &row.now.iface.name),
            used: fdb.learned as f64,
            capacity: fdb.limit.map(|limit| limit as f64),
            lower_bound: false,
        })
    }));
}
