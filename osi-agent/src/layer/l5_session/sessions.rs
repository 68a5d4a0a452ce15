//! Established connections at the window's end, by listener and by peer, and how long those lived that ended.

use osi_common::latency::Latency;
use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Netns, Scope, ScopeKind};
use crate::snapshot::{End, Sessions};

rows! { Layer::L5;
    SESSIONS: "Established connections of a listener, those that wait to be accepted among them." {
        id: "sessions",
        unit: Unit::Connections,
        source: Source::Netlink,
        scope: ScopeKind::Listener,
        fed_by: &["sessions"],
        since: "4.9",
        read: Read::Indicator(|window, rows| {
            each(window, rows, |row| matches!(row.end, End::Listener(..)).then_some((row.open, None)));
        }),
    }
    SESSION_LIFETIME: "Time from ESTABLISHED to CLOSE of connections that ended, whoever opened them; of those that were established while this agent ran, and in at most 128 s, beyond which it is not resolved." {
        id: "session_lifetime",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tcp_state", "exchanges"],
        since: "5.10",
        read: Read::Latency(Latency::Session),
    }
    CLOSE_WAIT_HELD: "Connections that the other end closed ten seconds ago or longer and that the application here does not close, of all that it has with it." {
        id: "close_wait_held",
        unit: Unit::Connections,
        source: Source::Netlink,
        scope: ScopeKind::Listener,
        fed_by: &["sessions"],
        since: "4.9",
        read: Read::Indicator(|window, rows| {
            each(window, rows, |row| (row.close_wait > 0).then_some((row.long_close_wait, Some(row.open))));
        }),
    }
    SESSIONS_UNREAD: "Connections with data that the application has not read, of all that it has with this end." {
        id: "sessions_unread",
        unit: Unit::Connections,
        source: Source::Netlink,
        scope: ScopeKind::Listener,
        fed_by: &["sessions"],
        since: "4.9",
        read: Read::Indicator(|window, rows| {
            each(window, rows, |row| (row.unread > 0).then_some((row.unread, Some(row.open))));
        }),
    }
    SESSION_UNREAD_AGE: "Time since data last came in on a connection whose data is left unread, the longest of them." {
        id: "session_unread_age",
        unit: Unit::Nanoseconds,
        source: Source::Netlink,
        scope: ScopeKind::Listener,
        fed_by: &["sessions"],
        since: "4.9",
        read: Read::Indicator(|window, rows| {
            each(window, rows, |row| row.unread_ms.map(|ms| (u64::from(ms) * 1_000_000, None)));
        }),
    }
}

/// A row for every end of which a use and a whole are told.
fn each(
    window: &Window,
    rows: &mut Vec<Use>,
    told: impl Fn(&Sessions) -> Option<(u64, Option<u64>)>,
) {
    for state in &window.now.namespaces {
        rows.extend(state.sessions.iter().filter_map(|row| {
            let (used, whole) = told(row)?;
            Some(Use {
                scope: scope(&state.netns, row.end),
                used: used as f64,
                capacity: whole.map(|whole| whole as f64),
                lower_bound: false,
            })
        }));
    }
}

/// The scope of an end.
pub(crate) fn scope(netns: &Netns, end: End) -> Scope {
    match end {
        End::Listener(address, port) => Scope::listener(netns, address, port),
        End::Peer(address, port) => Scope::peer(netns, address, Some(port)),
    }
}
