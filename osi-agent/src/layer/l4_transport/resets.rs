//! Resets, both directions.

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use crate::layer::{Amount, ListenerDelta, Read, Source, Unit, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::{Mib, NetnsState};

rows! { Layer::L4;
    // Before 6.10 the tracepoint is not called for those without a socket, as for a SYN to a closed port.
    RESETS_SENT: "Resets that this host sent." {
        id: "resets_sent",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpOutRsts))),
    }
    SYNS_REFUSED: "SYNs to a port that is or was listened on and that find no socket there: the kernel answers with a reset." {
        id: "syns_refused",
        unit: Unit::Segments,
        source: Source::Map,
        scope: ScopeKind::Listener,
        fed_by: &["drops", "listeners"],
        since: "5.10",
        read: Read::Errors(syns_refused),
    }
    RESETS_RECEIVED: "Resets that arrived." {
        id: "resets_received",
        unit: Unit::Segments,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["resets_received"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::ResetReceived, |_| true))),
    }
}

/// Before 5.17 what is dropped for other reasons is counted, too: there not of ports that are listened on at both ends of the
/// window.
fn syns_refused(window: &Window, rows: &mut Vec<Amount>) {
    let listens = |states: &[NetnsState], row: &ListenerDelta| {
        let state = states.iter().find(|state| state.netns == row.netns);
        state.is_none_or(|state| {
            let mut ports = state.listeners.iter().map(|other| other.port);
            !state.listeners.is_read() || ports.any(|port| port == row.port)
        })
    };
    let served = |row: &ListenerDelta| {
        listens(&window.previous.namespaces, row) && listens(&window.now.namespaces, row)
    };
    let refused = window
        .listeners()
        .into_iter()
        .filter(|row| !(window.now.kernel.nameless && served(row)));
    rows.extend(refused.map(|row| Amount {
        scope: Scope::local_port(&row.netns, row.port),
        delta: row.refused,
    }));
}
