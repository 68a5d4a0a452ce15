//! Memory for fragments that wait to become whole.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};

rows! { Layer::L3;
    FRAGMENT_MEMORY: "Bytes of IPv4 fragments waiting for reassembly; at net.ipv4.ipfrag_high_thresh further ones are dropped." {
        id: "fragment_memory",
        unit: Unit::Bytes,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["sockstat"],
        since: "2.6",
        read: Read::Capacity(memory),
    }
}

fn memory(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(window.now.namespaces.iter().filter_map(|state| {
        let gauge = state.fragments?;
        Some(Use::of_gauge(Scope::netns(&state.netns), gauge))
    }));
}
