//! TLS handshakes of clients and servers on this host, and of clients in its containers.

use osi_common::handshake::PeerKey;
use osi_common::latency::Latency;
use osi_common::layer::Layer;
use osi_common::listener::ListenerKey;
use osi_common::tls::{Endpoint, Handshakes, Outcomes};
use osi_common::wire::{Role, TCP, UDP};

use crate::layer::l7_application::exchange::{Waits, listener};
use crate::layer::{Amount, Read, Source, Unit, Use, Window, address, rows};
use crate::scope::{Proto, Scope, ScopeKind};

/// A handshake that takes longer counts as one that failed in `tls_failed_share`: users feel a second.
const BUDGET_NS: u64 = 1_000_000_000;

rows! { Layer::L6;
    TLS_HANDSHAKE: "Time from a TLS client's hello to the end of the handshake: the client's own (TLS 1.3, and sessions that go on), else the server's." {
        id: "tls_handshake",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tc", "tls"],
        since: "5.10",
        read: Read::Latency(Latency::Tls),
    }
    TLS_FAILED_SHARE: "TLS handshakes that failed or took longer than a second, of all that ended in the window: 1 means that nobody gets through. No resource of this layer has a capacity, so this stands for its saturation." {
        id: "tls_failed_share",
        unit: Unit::Events,
        source: Source::Derived,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "tls"],
        since: "5.10",
        read: Read::Capacity(failed_share),
    }
    TLS_1_3_COMPLETED: "TLS handshakes that came to a good end with version 1.3." {
        id: "tls13_completed",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "tls"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.tls13)),
    }
    TLS_1_2_COMPLETED: "TLS handshakes that came to a good end with version 1.2." {
        id: "tls12_completed",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "tls"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.tls12)),
    }
    TLS_OLDER_COMPLETED: "TLS handshakes that came to a good end with version 1.1 or 1.0, or with SSL 3.0, which are broken." {
        id: "tls_older_completed",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "tls"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.older)),
    }
    TLS_CLIENT_ALERTS: "TLS handshakes that the client ended by an alert, such as for a certificate that it does not trust." {
        id: "tls_client_alerts",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "tls"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, |outcomes| outcomes.client_alert)),
    }
    TLS_SERVER_ALERTS: "TLS handshakes that the server ended by an alert, such as for a version that it does not speak." {
        id: "tls_server_alerts",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "tls"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, |outcomes| outcomes.server_alert)),
    }
    TLS_ABORTED: "TLS handshakes whose connection ended before they did, without an alert." {
        id: "tls_aborted",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "tls"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, Outcomes::aborted)),
    }
    TLS_NO_ANSWER: "TLS handshakes to which the server said nothing for thirty seconds." {
        id: "tls_no_answer",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "tls"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, |outcomes| outcomes.no_answer)),
    }
}

/// What became of the handshakes with one server, or at one listening port, in the window.
#[derive(Clone, Debug)]
pub struct Shaken {
    /// The server that this host asks, or its own listener.
    pub scope: Scope,
    /// How those ended that did.
    pub outcomes: Outcomes,
    /// How long they took; `stuck` are those to which the server has not said anything yet.
    pub waits: Waits,
}

/// The window's handshakes of TLS by server and by listening port, in the order of their keys; quiet ones are left out.
pub fn shaken(window: &Window) -> Vec<Shaken> {
    shaken_over(TCP, window)
}

/// The same of this transport: UDP is QUIC's.
pub(super) fn shaken_over(transport: u8, window: &Window) -> Vec<Shaken> {
    let (now_ns, before) = (window.now.boot_ns, &window.previous.kernel.endpoints);
    let all = window.now.kernel.endpoints.iter();
    let mut rows: Vec<(&Endpoint, &Handshakes)> = all
        .filter(|(key, _)| key.transport == u16::from(transport))
        .collect();
    rows.sort_by_key(|(key, _)| **key);
    let of_endpoint = |(key, now): (&Endpoint, &Handshakes)| {
        let before = before.get(key).unwrap_or(&Handshakes::ZERO);
        let outcomes = now.outcomes.since(&before.outcomes);
        let mut waits = Waits::new(&now.times, Some(&before.times), now_ns);
        // Those whose end nobody sees do not stand still: only the server's silence is.
        let silent = window.now.kernel.tls_silent.get(key);
        let (count, oldest_ns) = silent.copied().unwrap_or_default();
        waits.stuck = waits.stuck.min(count);
        waits.stuck_ns = waits.stuck_ns.min(oldest_ns);
        if outcomes == Outcomes::ZERO && waits.is_empty() {
            return None;
        }
        Some(Shaken {
            scope: scope(window, key)?,
            outcomes,
            waits,
        })
    };
    rows.into_iter().filter_map(of_endpoint).collect()
}

/// Handshakes of the window of which nobody saw when they ended, or whether they did.
pub(in crate::layer) fn unmeasured(window: &Window) -> u64 {
    let rows = shaken(window).into_iter();
    rows.map(|row| row.outcomes.unmeasured + row.outcomes.unfinished)
        .sum()
}

fn scope(window: &Window, key: &Endpoint) -> Option<Scope> {
    let PeerKey {
        netns,
        family,
        port,
        address: remote,
    } = key.server;
    let is_quic = key.transport == u16::from(UDP);
    let proto = Some(if is_quic { Proto::Udp } else { Proto::Tcp });
    if u32::from(key.role) == Role::Asking as u32 {
        let remote = address(family, &remote);
        let peer = Scope::peer(window.netns(netns)?, remote, Some(port));
        return Some(Scope { proto, ..peer });
    }
    if is_quic {
        // No socket of UDP listens.
        let own = Scope::local_port(window.netns(netns)?, port);
        return Some(Scope { proto, ..own });
    }
    let port = port.into();
    listener(window, ListenerKey { netns, port })
}

fn amounts(window: &Window, rows: &mut Vec<Amount>, count: fn(&Outcomes) -> u64) {
    rows.extend(shaken(window).into_iter().map(|row| Amount {
        delta: count(&row.outcomes),
        scope: row.scope,
    }));
}

fn failed_share(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(shaken(window).into_iter().filter_map(|row| {
        let failed = row.outcomes.failed();
        let all = row.outcomes.completed() + failed;
        let late = row.waits.times.longer_than(BUDGET_NS);
        (all > 0).then(|| Use {
            scope: row.scope,
            used: (failed + late).min(all) as f64,
            capacity: Some(all as f64),
            lower_bound: false,
        })
    }));
}
