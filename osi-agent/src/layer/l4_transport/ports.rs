//! Local ports per destination, and those of UDP.

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};

/// The code of refusals to sockets of TCP: their IP protocol.
pub(crate) const IPPROTO_TCP: u32 = 6;

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
    PORTS_EXHAUSTED: "TCP connects that found no free local port." {
        id: "ports_exhausted",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::PortExhausted, |_| true))),
    }
    TCP_BINDS_REFUSED: "TCP sockets that wanted any local port, by bind or listen, and got none." {
        id: "tcp_binds_refused",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_get_port"],
        since: "5.10",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::PortRefused, |protocol| protocol == IPPROTO_TCP))),
    }
    UDP_PORTS_REFUSED: "UDP sockets that wanted any local port, by bind, connect or their first send, and got none." {
        id: "udp_ports_refused",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["udp_get_port"],
        since: "5.10",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::PortRefused, |protocol| protocol != IPPROTO_TCP))),
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
