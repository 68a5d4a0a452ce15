//! Closed windows: who tells whom to stop sending.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::Mib;

rows! { Layer::L4;
    ZERO_WINDOWS_SENT: "Times that this host told a peer to stop sending, because an application here does not read fast enough." {
        id: "zero_windows_sent",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.15",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpToZeroWindowAdv))),
    }
    ZERO_WINDOWS_ENDED: "Times that this host let such a peer go on." {
        id: "zero_windows_ended",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.15",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpFromZeroWindowAdv))),
    }
    ZERO_WINDOWS_WANTED: "Times that this host wanted to tell a peer to stop sending, because a receive buffer was full; what was promised before is kept." {
        id: "zero_windows_wanted",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.15",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpWantZeroWindowAdv))),
    }
    WINDOW_PROBES: "Probes sent to peers that told this host to stop sending, whether they take data again." {
        id: "window_probes",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "4.2",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpWinProbe))),
    }
    STALLED_SENDS: "Connections of this host that have waited for a second or longer because the peer takes no more data, of those to it." {
        id: "stalled_sends",
        unit: Unit::Connections,
        source: Source::Netlink,
        scope: ScopeKind::Peer,
        fed_by: &["ports"],
        since: "4.9",
        read: Read::Indicator(stalled),
    }
}

fn stalled(window: &Window, rows: &mut Vec<Use>) {
    for state in &window.now.namespaces {
        rows.extend(state.stalled.iter().map(|peer| Use {
            scope: Scope::peer(&state.netns, peer.remote, Some(peer.port)),
            used: peer.connections as f64,
            capacity: Some(peer.open as f64),
            lower_bound: false,
        }));
    }
}
