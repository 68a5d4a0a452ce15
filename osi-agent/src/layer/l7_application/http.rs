//! HTTP/1 requests to and from this host, and how they are answered.

use std::collections::BTreeMap;

use osi_common::histogram::Coarse;
use osi_common::http::{Outcomes, Server, ServerKey};
use osi_common::latency::Latency;
use osi_common::layer::Layer;
use osi_common::listener::ListenerKey;
use osi_common::wire::Role;

use super::exchange::{Waits, listener};
use crate::layer::{Amount, Read, Source, Unit, Window, address, rows};
use crate::scope::{Scope, ScopeKind};

rows! { Layer::L7;
    HTTP_TIME: "Time from an HTTP/1 request to the first byte of its answer, of those that this host asks and of those that it serves; over lo it is both." {
        id: "http_time",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tc", "http"],
        since: "5.10",
        read: Read::Latency(Latency::Http),
    }
    HTTP_ANSWERS: "Answers to HTTP/1 requests, whatever they say, by peer that this host asks and by listener that it serves at; interim ones (1xx) do not count." {
        id: "http_answers",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "http"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, Outcomes::answers)),
    }
    HTTP_CLIENT_ERRORS: "Answers to HTTP/1 requests that say the request was wrong (4xx): normal life, as with links to what is gone." {
        id: "http_client_errors",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "http"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.client_error)),
    }
    HTTP_SERVER_ERRORS: "Answers to HTTP/1 requests that say the server failed (5xx)." {
        id: "http_errors",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "http"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, Outcomes::errors)),
    }
    HTTP_NO_ANSWER: "HTTP/1 requests that had no answer when their connection ended, or within a minute; clients that give up are among them." {
        id: "http_no_answer",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "http"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.no_answer)),
    }
}

/// What became of the requests to one peer, or at one listening port, in the window.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The peer, or the listener; the port alone where several addresses have it or nobody listens.
    pub scope: Scope,
    /// How those ended that did.
    pub outcomes: Outcomes,
    /// How long answers took.
    pub times: Coarse,
}

/// The window's requests by peer and by listener, in the order of their scopes; where nothing ended they are left out.
///
/// What arrives for an address that is not of this host is handed on, and counts where it leaves.
pub fn answered(window: &Window) -> Vec<Answered> {
    let mut rows: BTreeMap<Scope, Answered> = BTreeMap::new();
    for Grown {
        key,
        outcomes,
        waits: Waits { times, .. },
        ..
    } in grown(window)
    {
        if outcomes == Outcomes::ZERO && times == Coarse::ZERO {
            continue;
        }
        let Some(scope) = scope(window, key) else {
            continue;
        };
        let row = rows.entry(scope.clone()).or_insert(Answered {
            scope,
            outcomes: Outcomes::ZERO,
            times: Coarse::ZERO,
        });
        row.outcomes.merge(&outcomes);
        row.times.merge(&times);
    }
    rows.into_values().collect()
}

/// Requests that wait for an answer, by peer and by listener, in the order of their scopes; those that had one in the window beside
/// them. Servers that may be busy with what their clients still send (uploads), or that let requests wait on purpose, are left out:
/// their silence says nothing.
pub fn awaited(window: &Window) -> Vec<(Scope, Waits)> {
    let patient = &window.now.kernel.http_patient;
    let mut rows: BTreeMap<Scope, Waits> = BTreeMap::new();
    for row in grown(window) {
        let is_missed = row.all.untimed == 0 && !patient.contains(row.key);
        if row.waits.is_empty() || !is_missed {
            continue;
        }
        if let Some(scope) = scope(window, row.key) {
            rows.entry(scope)
                .and_modify(|waits| join(waits, &row.waits))
                .or_insert(row.waits);
        }
    }
    rows.into_iter().collect()
}

/// Adds the waits at another address of a listener: who answers at either is not silent.
fn join(waits: &mut Waits, other: &Waits) {
    let is_silent = waits.stuck > 0 && other.stuck > 0;
    let stuck = waits.stuck + other.stuck;
    waits.stuck = if is_silent { stuck } else { 0 };
    waits.stuck_ns = waits.stuck_ns.min(other.stuck_ns);
    waits.times.merge(&other.times);
    waits.sum_ns = waits.sum_ns.saturating_add(other.sum_ns);
    waits.has_passed |= other.has_passed;
}

/// What became of the requests to one server, as the programs count them.
pub(in crate::layer) struct Grown<'a> {
    /// Which.
    pub(in crate::layer) key: &'a ServerKey,
    /// Since it was first seen.
    pub(in crate::layer) all: &'a Outcomes,
    /// In the window.
    pub(in crate::layer) outcomes: Outcomes,
    /// How long answers took in it, and what waits for one at its end.
    waits: Waits,
}

/// Every server that is followed, in no order.
pub(in crate::layer) fn grown<'a>(window: &Window<'a>) -> impl Iterator<Item = Grown<'a>> {
    let before = &window.previous.kernel.http_servers;
    let servers = window.now.kernel.http_servers.iter();
    servers.map(move |(key, now)| {
        let before = before.get(key).unwrap_or(&Server::ZERO);
        Grown {
            key,
            all: &now.outcomes,
            outcomes: now.outcomes.since(&before.outcomes),
            waits: Waits::new(&now.answers, Some(&before.answers), window.now.boot_ns),
        }
    })
}

/// The peer that is asked, or the listener; `None` for what is only handed on.
pub(in crate::layer) fn scope(window: &Window, key: &ServerKey) -> Option<Scope> {
    let server = &key.server;
    let remote = address(server.family, &server.address);
    let mut states = window.now.namespaces.iter();
    let state = states.find(|state| state.netns.inode == server.netns)?;
    if key.role == Role::Asking as u32 {
        return Some(Scope::peer(&state.netns, remote, Some(server.port)));
    }
    let key = ListenerKey {
        netns: server.netns,
        port: server.port.into(),
    };
    let is_own = remote.is_loopback() || state.may_own(remote);
    is_own.then(|| listener(window, key)).flatten()
}

/// Exchanges of the window whose time is not known.
pub(in crate::layer) fn unmeasured(window: &Window) -> u64 {
    let rows = grown(window).map(|row| row.outcomes);
    rows.map(|outcomes| outcomes.unseen + outcomes.untimed)
        .sum()
}

fn amounts(window: &Window, rows: &mut Vec<Amount>, count: fn(&Outcomes) -> u64) {
    rows.extend(answered(window).into_iter().map(|row| Amount {
        delta: count(&row.outcomes),
        scope: row.scope,
    }));
}
