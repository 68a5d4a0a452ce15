//! The connection tracking table.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};

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
}

fn entries(window: &Window, rows: &mut Vec<Use>) {
    let namespaces = window.now.namespaces.iter();
    rows.extend(
        namespaces
            .filter_map(|state| Some(Use::of_gauge(Scope::netns(&state.netns), state.conntrack?))),
    );
}
