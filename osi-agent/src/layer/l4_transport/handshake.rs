//! Connections being made, on both sides, and how long it takes.

use osi_common::failure::errno;
use osi_common::latency::Latency;
use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::Mib;

rows! { Layer::L4;
    CONNECTS: "TCP connects begun." {
        id: "connects",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Traffic(|window, rows| rows.extend(window.occurrence_rows(Kind::Connect, |_| true))),
    }
    CONNECTED: "TCP connects that succeeded." {
        id: "connected",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Traffic(|window, rows| rows.extend(window.occurrence_rows(Kind::Connected, |_| true))),
    }
    CONNECT_FAILURES: "TCP connects that ended with an error; those that the application gave up are not among them." {
        id: "connect_failures",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::ConnectFailed, |code| errno(code) != 0))),
    }
    CONNECTS_ABANDONED: "TCP connects that the application gave up before an answer." {
        id: "connects_abandoned",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Traffic(|window, rows| rows.extend(window.occurrence_rows(Kind::ConnectFailed, |code| errno(code) == 0))),
    }
    ACCEPTED: "TCP connections that peers opened to this host." {
        id: "accepted",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpPassiveOpens))),
    }
    CONNECTS_OPENED: "TCP connects begun, as the kernel's own counter has them." {
        id: "connects_opened",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpActiveOpens))),
    }
    SYN_SENT: "TCP connects waiting for an answer now." {
        id: "syn_sent",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Indicator(syn_sent),
    }
    TCP_HANDSHAKE_CLIENT: "Time from the first SYN to the established connection, on the connecting side." {
        id: "tcp_handshake_client",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tcp_connect", "tcp_state"],
        since: "4.16",
        read: Read::Latency(Latency::HandshakeClient),
    }
    TCP_HANDSHAKE_SERVER: "Time from the SYN-ACK to its acknowledgement, on the accepting side." {
        id: "tcp_handshake_server",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Latency(Latency::HandshakeServer),
    }
    TCP_HANDSHAKE_RETRIED: "The part of tcp_handshake_client whose SYN was sent again: mostly the time of TCP's timers." {
        id: "tcp_handshake_retried",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tcp_connect", "tcp_state"],
        since: "4.16",
        read: Read::Latency(Latency::HandshakeRetried),
    }
    TCP_PORT_SEARCH: "Time that connect() takes to find a free local port; grows as a pool fills." {
        id: "tcp_port_search",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tcp_connect", "tcp_state"],
        since: "4.16",
        read: Read::Latency(Latency::PortSearch),
    }
}

fn syn_sent(window: &Window, rows: &mut Vec<Use>) {
    let waiting = &window.now.kernel.handshakes_in_flight;
    rows.extend(window.now.namespaces.iter().map(|state| Use {
        scope: Scope::netns(&state.netns),
        used: waiting.get(&state.netns.inode).copied().unwrap_or(0) as f64,
        capacity: None,
        lower_bound: false,
    }));
}
