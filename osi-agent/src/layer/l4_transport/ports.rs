//! Local ports per destination.

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};

rows! { Layer::L4;
    EPHEMERAL_PORTS: "Local ports in use from one address to one destination; when all are, no further connection can be made to it." {
        id: "ephemeral_ports",
        unit: Unit::Ports,
        source: Source::Netlink,
        scope: ScopeKind::Pool,
        fed_by: &["ports"],
        since: "4.9",
        read: Read::Capacity(pools),
    }
    PORTS_EXHAUSTED: "TCP connects that found no free local port; neither bind nor UDP is watched." {
        id: "ports_exhausted",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::PortExhausted, |_| true))),
    }
}

fn pools(window: &Window, rows: &mut Vec<Use>) {
    for state in &window.now.namespaces {
        rows.extend(state.pools.iter().map(|pool| Use {
            scope: Scope::pool(&state.netns, pool.local, pool.remote, pool.port),
            used: pool.used as f64,
            capacity: Some(pool.usable as f64),
            lower_bound: pool.lower_bound,
        }));
    }
}
