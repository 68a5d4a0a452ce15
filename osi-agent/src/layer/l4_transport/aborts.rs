//! Connections that ended by force, by who ended them and why, as the kernel's own counters have it.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;
use crate::snapshot::Mib;

rows! { Layer::L4;
    ESTABLISHED_RESET: "Established connections that a peer reset, or that this host did." {
        id: "established_reset",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpEstabResets))),
    }
    ABORTED_OVER_DATA: "Connections that this host reset because data came after the application had closed, or because it closed with SO_LINGER 0." {
        id: "aborted_over_data",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpAbortOnData))),
    }
    ABORTED_UNREAD: "Connections that this host reset because the application closed before it had read all that had arrived." {
        id: "aborted_unread",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpAbortOnClose))),
    }
    ABORTED_BY_TIMER: "Connections given up by a timer because the peer fell silent; no reset is sent." {
        id: "aborted_by_timer",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpAbortOnTimeout))),
    }
    ABORTED_IN_LINGER: "Connections reset in FIN_WAIT2 because the application set TCP_LINGER2 below 0." {
        id: "aborted_in_linger",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpAbortOnLinger))),
    }
    ABORTED_FOR_MEMORY: "Connections reset for lack of TCP memory or because there were too many orphans." {
        id: "aborted_for_memory",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpAbortOnMemory))),
    }
    ABORTS_FAILED: "Resets that could not be sent for lack of memory: the peer goes on waiting." {
        id: "aborts_failed",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpAbortFailed))),
    }
}
