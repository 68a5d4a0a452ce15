//! Queues of listening sockets.

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::Mib;

rows! { Layer::L4;
    ACCEPT_QUEUE: "Connections waiting for accept(); one more than the backlog is refused." {
        id: "accept_queue",
        unit: Unit::Connections,
        source: Source::Netlink,
        scope: ScopeKind::Listener,
        fed_by: &["listeners"],
        since: "4.9",
        read: Read::Capacity(accept_queue),
    }
    LISTEN_OVERFLOWS: "Handshakes dropped because an accept queue was full." {
        id: "listen_overflows",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::ListenOverflows))),
    }
    LISTEN_DROPS: "Handshakes dropped at a listener for any other reason than a full accept queue." {
        id: "listen_drops",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(listen_drops),
    }
    SYN_QUEUE: "Handshakes that a listener has answered and that are not finished, where something made the agent look; at its backlog further SYNs are dropped, or answered by a cookie." {
        id: "syn_queue",
        unit: Unit::Connections,
        source: Source::Netlink,
        scope: ScopeKind::Listener,
        fed_by: &["listeners", "syn_queues"],
        since: "4.9",
        read: Read::Capacity(syn_queue),
    }
    SYN_QUEUE_DROPS: "SYNs dropped because a listener's queue of unfinished handshakes was full." {
        id: "syn_queue_drops",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpReqQFullDrop))),
    }
    SYNCOOKIES_SENT: "SYN cookies sent because a queue of unfinished handshakes was full." {
        id: "syncookies_sent",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::SyncookiesSent))),
    }
}

fn accept_queue(window: &Window, rows: &mut Vec<Use>) {
    for state in &window.now.namespaces {
        rows.extend(state.listeners.iter().map(|listener| Use {
            scope: Scope::listener(&state.netns, listener.address, listener.port),
            used: f64::from(listener.queued),
            capacity: Some(f64::from(listener.backlog) + 1.0),
            lower_bound: false,
        }));
    }
}

fn syn_queue(window: &Window, rows: &mut Vec<Use>) {
    for state in &window.now.namespaces {
        rows.extend(state.syn_queues.iter().map(|queue| Use {
            scope: Scope::listener(&state.netns, queue.address, queue.port),
            used: queue.used as f64,
            capacity: Some(queue.capacity as f64),
            lower_bound: false,
        }));
    }
}

/// The kernel counts overflows among the drops too.
fn listen_drops(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(window.mib_rows(Mib::ListenDrops).map(|mut row| {
        let overflows = row
            .scope
            .netns
            .as_ref()
            .map_or(0, |netns| window.mib_in(netns, Mib::ListenOverflows));
        row.delta = row.delta.saturating_sub(overflows);
        row
    }));
}
