//! Connections that ended while they were in use, as the programs and the kernel's own counters have it.

use osi_common::layer::Layer;
use osi_common::occurrence::{Kind, is_given_up, is_session};

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;
use crate::snapshot::Mib;

rows! { Layer::L5;
    SESSIONS_RESET: "Established connections that the other end reset; proxies and servers end idle ones so by design." {
        id: "sessions_reset",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["resets_received"],
        since: "4.16",
        read: Read::Traffic(|window, rows| rows.extend(window.occurrence_rows(Kind::ResetReceived, is_session))),
    }
    SESSIONS_TIMED_OUT: "Established connections that the kernel gave up because the other end fell silent: retransmission, keep-alive or TCP_USER_TIMEOUT (ETIMEDOUT; EHOSTUNREACH or ENETUNREACH where an ICMP error or a dead neighbour says more)." {
        id: "sessions_timed_out",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::Closed, is_given_up))),
    }
    SESSIONS_CLOSED: "Connections that ended after they had been established, in whatever way." {
        id: "sessions_closed",
        unit: Unit::Connections,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["tcp_state"],
        since: "4.16",
        read: Read::Traffic(|window, rows| rows.extend(window.occurrence_rows(Kind::Closed, |_| true))),
    }
    KEEPALIVE_PROBES: "Probes whether the other end of an idle connection is still there (SO_KEEPALIVE); who answers none is among sessions_timed_out." {
        id: "keepalive_probes",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.15",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpKeepAlive))),
    }
}
