//! Local ports per destination, and those of UDP.

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
    UDP_PORTS: "Local UDP ports in use in a namespace; when all are, a socket that needs one gets EAGAIN." {
        id: "udp_ports",
        unit: Unit::Ports,
        source: Source::Netlink,
        scope: ScopeKind::Pool,
        fed_by: &["udp_ports"],
        since: "3.3",
        read: Read::Capacity(udp),
    }
    PORTS_EXHAUSTED: "TCP connects that found no free local port; refusals of bind and of UDP are not seen one by one." {
        id: "ports_exhausted",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::PortExhausted, |_| true))),
    }
}

fn udp(window: &Window, rows: &mut Vec<Use>) {
    for state in &window.now.namespaces {
        rows.extend(state.udp_ports.as_ref().map(|ports| Use {
            scope: Scope::udp_ports(&state.netns),
            used: ports.used as f64,
            capacity: Some(ports.usable as f64),
            lower_bound: false,
        }));
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
