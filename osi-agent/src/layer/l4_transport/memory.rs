//! Memory and tables that sockets share.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::Mib;

rows! { Layer::L4;
    TCP_MEMORY: "Pages that TCP buffers hold; at the third value of net.ipv4.tcp_mem connections are dropped." {
        id: "tcp_memory",
        unit: Unit::Pages,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["sockstat"],
        since: "2.6",
        read: Read::Capacity(tcp),
    }
    UDP_MEMORY: "Pages that UDP buffers hold; at the third value of net.ipv4.udp_mem datagrams are dropped." {
        id: "udp_memory",
        unit: Unit::Pages,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["sockstat"],
        since: "2.6",
        read: Read::Capacity(udp),
    }
    ORPHANS: "TCP sockets without a process; at net.ipv4.tcp_max_orphans further ones are reset." {
        id: "orphans",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["sockstat"],
        since: "2.6",
        read: Read::Capacity(orphans),
    }
    TIME_WAIT: "Connections in TIME_WAIT; at net.ipv4.tcp_max_tw_buckets further ones skip it." {
        id: "time_wait",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["sockstat"],
        since: "2.6",
        read: Read::Capacity(time_wait),
    }
    UDP_BUFFER_DROPS: "UDP datagrams dropped because the socket's receive buffer was full." {
        id: "udp_buffer_drops",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Drops(|window, rows| rows.extend(window.mib_rows(Mib::UdpRcvbufErrors))),
    }
}

fn tcp(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(
        window
            .host()
            .tcp_memory
            .map(|gauge| Use::of_gauge(Scope::host(), gauge)),
    );
}

fn udp(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(
        window
            .host()
            .udp_memory
            .map(|gauge| Use::of_gauge(Scope::host(), gauge)),
    );
}

fn orphans(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(
        window
            .host()
            .orphans
            .map(|gauge| Use::of_gauge(Scope::host(), gauge)),
    );
}

fn time_wait(window: &Window, rows: &mut Vec<Use>) {
    let namespaces = window.now.namespaces.iter();
    rows.extend(
        namespaces
            .filter_map(|state| Some(Use::of_gauge(Scope::netns(&state.netns), state.time_wait?))),
    );
}
