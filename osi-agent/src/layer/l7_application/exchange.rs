//! Requests that wait to be read, answers that take their time, and peers that this host waits for: of any TCP application.

use osi_common::exchange::{Dependency, Requests, Span};
use osi_common::handshake::PeerKey;
use osi_common::histogram::Coarse;
use osi_common::latency::Latency;
use osi_common::layer::Layer;
use osi_common::listener::ListenerKey;

use crate::layer::{Read, Source, Unit, Use, Window, address, rows};
use crate::scope::{Scope, ScopeKind};

rows! { Layer::L7;
    REQUEST_DWELL: "Time that data on accepted connections waits until the application reads on; waits of those that are not accepted yet count as well." {
        id: "request_dwell",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["exchanges", "tcp_state"],
        since: "5.10",
        read: Read::Latency(Latency::RequestDwell),
    }
    RESPONSE_TIME: "Time from the read that left nothing unread on an accepted connection to the next send." {
        id: "response_time",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["exchanges", "tcp_state"],
        since: "5.10",
        read: Read::Latency(Latency::Response),
    }
    DEPENDENCY_TIME: "Time from the last send on a connection that this host opened to the first data back." {
        id: "dependency_time",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["exchanges", "tcp_state"],
        since: "5.10",
        read: Read::Latency(Latency::Dependency),
    }
    QUEUEING_SHARE: "Time that requests waited to be read, of all that they spent at a listener, which counts as a whole window where they spent less; all of it where requests wait and none is read." {
        id: "queueing_share",
        unit: Unit::Nanoseconds,
        source: Source::Derived,
        scope: ScopeKind::Listener,
        fed_by: &["exchanges", "tcp_state"],
        since: "5.10",
        read: Read::Capacity(queueing),
    }
    REQUEST_CONCURRENCY: "Requests at a listener at a time, on average: the time that they waited to be read and to be answered, by the time of the window in which that ended." {
        id: "request_concurrency",
        unit: Unit::Requests,
        source: Source::Derived,
        scope: ScopeKind::Listener,
        fed_by: &["exchanges", "tcp_state"],
        since: "5.10",
        read: Read::Indicator(concurrency),
    }
}

/// Waits of one kind in one place in the window.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// How long those took that ended.
    pub times: Coarse,
    /// The same, added up.
    pub sum_ns: u64,
    /// At the window's end: those that go on and began after the last end; of unread requests, after the latest that was read.
    pub stuck: u64,
    /// How long the first of these has gone on; of unread requests, not longer than none was read.
    pub stuck_ns: u64,
    /// Whether any wait here ever ended as it should.
    pub has_passed: bool,
}

impl Waits {
    pub(in crate::layer) fn new(now: &Span, before: Option<&Span>, now_ns: u64) -> Self {
        let before = before.unwrap_or(&Span::ZERO);
        Self {
            times: now.times.since(&before.times),
            sum_ns: now.sum_ns.saturating_sub(before.sum_ns),
            stuck: now.stuck(),
            stuck_ns: now.stuck_ns(now_ns),
            has_passed: now.passed > 0,
        }
    }

    /// Mean time of those that ended; `None` where none did.
    pub fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.times.count())
    }

    pub(in crate::layer) fn is_empty(&self) -> bool {
        self.stuck == 0 && self.times.count() == 0
    }
}

/// What became of the requests at one listening port in the window.
#[derive(Clone, Debug)]
pub struct Served {
    /// The listener; the port alone where several addresses have it.
    pub scope: Scope,
    /// From their arrival to the read.
    pub dwell: Waits,
    /// From there to the answer.
    pub response: Waits,
}

impl Served {
    /// Time that requests spent here, as far as it has ended: waiting, and in all.
    pub fn spent_ns(&self) -> (u64, u64) {
        let waiting = self.dwell.sum_ns;
        (waiting, waiting.saturating_add(self.response.sum_ns))
    }
}

/// Requests of the window by listening port, in the order of their keys; ports where nothing happened are left out.
pub fn served(window: &Window) -> Vec<Served> {
    let (now_ns, before) = (window.now.boot_ns, &window.previous.kernel.requests);
    let mut rows: Vec<(&ListenerKey, &Requests)> = window.now.kernel.requests.iter().collect();
    rows.sort_by_key(|(key, _)| **key);
    let of_port = |(key, now): (&ListenerKey, &Requests)| {
        let before = before.get(key);
        let dwell = Waits::new(&now.dwell, before.map(|row| &row.dwell), now_ns);
        let response = Waits::new(&now.response, before.map(|row| &row.response), now_ns);
        if dwell.is_empty() && response.is_empty() {
            return None;
        }
        Some(Served {
            scope: listener(window, *key)?,
            dwell,
            response,
        })
    };
    rows.into_iter().filter_map(of_port).collect()
}

/// Waits of the window by the peers that this host connected to, in the order of their keys; quiet ones are left out.
pub fn depended(window: &Window) -> Vec<(Scope, Waits)> {
    let (now_ns, before) = (window.now.boot_ns, &window.previous.kernel.dependencies);
    let mut rows: Vec<(&PeerKey, &Dependency)> = window.now.kernel.dependencies.iter().collect();
    rows.sort_by_key(|(key, _)| **key);
    let of_peer = |(key, now): (&PeerKey, &Dependency)| {
        let before = before.get(key).map(|peer| &peer.answers);
        let waits = Waits::new(&now.answers, before, now_ns);
        if waits.is_empty() {
            return None;
        }
        Some((peer(window, key)?, waits))
    };
    rows.into_iter().filter_map(of_peer).collect()
}

/// Peers with which connections rest after a send that no answer is due to, as those of HTTP/2 do after a WINDOW_UPDATE: a tenth of
/// the window's answers came after such a rest.
pub fn rested(window: &Window) -> Vec<Scope> {
    let before = &window.previous.kernel.dependencies;
    let rows = window.now.kernel.dependencies.iter();
    let rows = rows.filter(|(key, now)| {
        let more = |figure: fn(&Dependency) -> u64| {
            figure(now).saturating_sub(before.get(key).map_or(0, figure))
        };
        let (rests, answers) = (more(|peer| peer.not_due), more(|peer| peer.answers.ended));
        rests > 0 && rests.saturating_mul(10) >= answers
    });
    rows.filter_map(|(key, _)| peer(window, key)).collect()
}

fn peer(window: &Window, key: &PeerKey) -> Option<Scope> {
    let (netns, remote) = (window.netns(key.netns)?, address(key.family, &key.address));
    Some(Scope::peer(netns, remote, Some(key.port)))
}

/// In flight at the window's end, and since when nothing has ended.
pub(in crate::layer) fn waiting<'a>(
    window: &Window,
    spans: impl Iterator<Item = &'a Span>,
) -> (u64, u64) {
    spans.fold((0, 0), |(count, oldest_ns), span| {
        (
            count + span.in_flight(),
            oldest_ns.max(span.stuck_ns(window.now.boot_ns)),
        )
    })
}

/// The scope of a listening port: its listener, or the port alone where none has it any more, or several addresses do.
pub(crate) fn listener(window: &Window, key: ListenerKey) -> Option<Scope> {
    let port = u16::try_from(key.port).ok()?;
    let mut states = window.now.namespaces.iter();
    let state = states.find(|state| state.netns.inode == key.netns)?;
    let listeners = state.listeners.iter();
    let mut addresses = listeners
        .filter(|listener| listener.port == port)
        .map(|listener| listener.address);
    let first = addresses.next();
    let only = first.filter(|first| addresses.all(|other| other == *first));
    Some(only.map_or_else(
        || Scope::local_port(&state.netns, port),
        |address| Scope::listener(&state.netns, address, port),
    ))
}

/// A busy application spends more than the window on its requests, as it serves several at once. One that is at rest has a share
/// as well, of next to nothing: it counts for as little as it is.
fn queueing(window: &Window, rows: &mut Vec<Use>) {
    let elapsed_ns = window.elapsed_ns();
    rows.extend(served(window).into_iter().map(|row| {
        let dwell = &row.dwell;
        let is_stuck = dwell.times.count() == 0 && dwell.stuck_ns >= elapsed_ns;
        let (waited_ns, spent_ns) = if is_stuck {
            (dwell.stuck_ns, dwell.stuck_ns)
        } else {
            row.spent_ns()
        };
        Use {
            scope: row.scope,
            used: waited_ns as f64,
            capacity: Some(spent_ns.max(elapsed_ns) as f64),
            lower_bound: false,
        }
    }));
}

fn concurrency(window: &Window, rows: &mut Vec<Use>) {
    let elapsed_ns = window.elapsed_ns() as f64;
    rows.extend(served(window).into_iter().map(|row| {
        let (_, spent_ns) = row.spent_ns();
        Use {
            scope: row.scope,
            used: spent_ns as f64 / elapsed_ns,
            capacity: None,
            lower_bound: false,
        }
    }));
}
