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
    TIME_WAIT_OVERFLOWS: "Connections that skipped TIME_WAIT because its table was full." {
        id: "time_wait_overflows",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpTimeWaitOverflow))),
    }
    TCP_MEMORY_PRESSURES: "Times that TCP began to save memory, at the second value of net.ipv4.tcp_mem." {
        id: "tcp_memory_pressures",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpMemoryPressures))),
    }
    TCP_ABORTS_ON_MEMORY: "Connections reset because TCP had no memory left, or too many had no process (net.ipv4.tcp_max_orphans)." {
        id: "tcp_aborts_on_memory",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpAbortOnMemory))),
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
