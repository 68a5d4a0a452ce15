//! How long things usually take, with each peer and at each listening port.

use std::collections::BTreeMap;

use osi_common::histogram::Coarse;

use crate::layer::l4_transport::handshake::{TCP_HANDSHAKE_CLIENT, TCP_HANDSHAKE_SERVER};
use crate::layer::l6_presentation::tls::{TLS_HANDSHAKE, shaken};
use crate::layer::l7_application::dns::{DNS_TIME, resolved};
use crate::layer::l7_application::exchange::{
    DEPENDENCY_TIME, REQUEST_DWELL, RESPONSE_TIME, depended, rested, served,
};
use crate::layer::l7_application::http::{HTTP_TIME, answered};
use crate::layer::{PeerDelta, Signal, Window};
use crate::scope::{Netns, Scope};
use crate::snapshot::Mib;

/// Scopes that are followed; while it is full of living ones, new ones are not.
const MAX_SCOPES: usize = 8192;

/// Windows after which one that is not heard of is forgotten.
const FORGOTTEN: u64 = 3600;

/// Windows with completions before anything is usual.
const LEARNED: u64 = 5;

/// Weight of a healthy window in the mean, once there are as many.
const WEIGHT: f64 = 1.0 / 16.0;

/// Weight of a slow one: a path that has moved for good is the usual one after a quarter of an hour, and not before.
const SLOW_WEIGHT: f64 = 1.0 / 4096.0;

/// A window that is worse than the usual by this factor counts as a slow one.
const ODD: f64 = 3.0;

/// Nothing that is sooner is long: the smallest budget of a cause.
const LONG_NS: f64 = 1e8;

/// What is usual in one scope.
#[derive(Clone, Copy, Debug)]
struct Usual {
    /// Mean of the windows' 99th percentiles.
    p99_ns: f64,
    /// Mean of how many a window took much longer than that.
    long: f64,
    /// Windows that it was learned from.
    windows: u64,
    /// The last one.
    last: u64,
    /// Whether silence is normal life: anything ever took longer than the grid tells, or connections rest after a send.
    patient: bool,
}

/// Usual times by signal and scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paces {
    rows: BTreeMap<(&'static str, Scope), Usual>,
}

/// What a signal's things took in the window, by scope.
type Source = fn(&Window) -> Vec<(Scope, Coarse)>;

/// What is timed by peer and by listening port: each signal, and where its times come from.
static TIMED: &[(&Signal, Source)] = &[
    (&TCP_HANDSHAKE_CLIENT, of_peers),
    (&TCP_HANDSHAKE_SERVER, of_listeners),
    (&REQUEST_DWELL, |window| {
        let rows = served(window).into_iter();
        rows.map(|row| (row.scope, row.dwell.times)).collect()
    }),
    (&RESPONSE_TIME, |window| {
        let rows = served(window).into_iter();
        rows.map(|row| (row.scope, row.response.times)).collect()
    }),
    (&DEPENDENCY_TIME, |window| {
        let rows = depended(window).into_iter();
        rows.map(|(scope, waits)| (scope, waits.times)).collect()
    }),
    (&DNS_TIME, |window| {
        let rows = resolved(window).into_iter();
        rows.map(|row| (row.scope, row.waits.times)).collect()
    }),
    (&TLS_HANDSHAKE, |window| {
        let rows = shaken(window).into_iter();
        rows.map(|row| (row.scope, row.waits.times)).collect()
    }),
    (&HTTP_TIME, |window| {
        let rows = answered(window).into_iter();
        rows.map(|row| (row.scope, row.times)).collect()
    }),
];

fn of_peers(window: &Window) -> Vec<(Scope, Coarse)> {
    let of_peer = |peer: PeerDelta| {
        let scope = Scope::peer(&peer.netns, peer.address, Some(peer.port));
        (scope, peer.times)
    };
    window.peers().into_iter().map(of_peer).collect()
}

/// Where a listener defers (TCP_DEFER_ACCEPT), its handshakes end with the client's first data: how long clients think says
/// nothing of the way. No counter tells which listener it is.
fn of_listeners(window: &Window) -> Vec<(Scope, Coarse)> {
    let defers = |netns: &Netns| {
        let mut states = window.now.namespaces.iter();
        let state = states.find(|state| state.netns == *netns);
        state.and_then(|state| state.mibs.get(Mib::TcpDeferAcceptDrop)) > Some(0)
    };
    let listeners = window.listeners().into_iter();
    let listeners = listeners.filter(|row| !defers(&row.netns)).map(|row| {
        let scope = Scope::local_port(&row.netns, row.port);
        (scope, row.times)
    });
    listeners.collect()
}

/// What took how long in the window, by peer and by listening port, of some signals; the others are not looked at.
pub(crate) fn times_of(
    window: &Window,
    wanted: impl Fn(&Signal) -> bool,
) -> impl Iterator<Item = (&'static Signal, Scope, Coarse)> {
    let timed = TIMED.iter().filter(move |(signal, _)| wanted(signal));
    let rows = timed.flat_map(|(signal, source)| {
        let rows = source(window).into_iter();
        rows.map(move |(scope, times)| (*signal, scope, times))
    });
    rows.filter(|(_, _, times)| times.count() > 0)
}

impl Paces {
    /// The usual 99th percentile; `None` until enough windows have been seen.
    pub(crate) fn usual_ns(&self, signal: &Signal, scope: &Scope) -> Option<u64> {
        let usual = self.rows.get(&(signal.id, scope.clone()))?;
        (usual.windows >= LEARNED).then_some(usual.p99_ns as u64)
    }

    /// How many a window usually take much longer than the usual 99th percentile.
    pub(crate) fn usually_long(&self, signal: &Signal, scope: &Scope) -> f64 {
        let usual = self.rows.get(&(signal.id, scope.clone()));
        usual.map_or(0.0, |usual| usual.long)
    }

    /// Whether something ended well once that took longer than the grid tells apart (8 s), or connections once rested after a send
    /// that no answer was due to: who waits so long on purpose, or for nothing, is not to be told from who waits in vain.
    pub(crate) fn takes_its_time(&self, signal: &Signal, scope: &Scope) -> bool {
        let usual = self.rows.get(&(signal.id, scope.clone()));
        usual.is_some_and(|usual| usual.patient)
    }

    /// Takes in a window; `is_slow` says in which scopes a signal was worse than usual.
    pub(super) fn learn(
        &mut self,
        windows: u64,
        window: &Window,
        is_slow: impl Fn(&Signal, &Scope) -> bool,
    ) {
        if self.rows.len() >= MAX_SCOPES {
            self.rows
                .retain(|_, usual| usual.last + FORGOTTEN > windows);
        }
        for (signal, scope, times) in times_of(window, |_| true) {
            let Some(p99_ns) = times.quantile_ns(9_900).map(|ns| ns as f64) else {
                continue;
            };
            let slow = is_slow(signal, &scope);
            let key = (signal.id, scope);
            if self.rows.len() >= MAX_SCOPES && !self.rows.contains_key(&key) {
                continue;
            }
            let usual = self.rows.entry(key).or_insert(Usual {
                p99_ns,
                long: 0.0,
                windows: 0,
                last: windows,
                patient: false,
            });
            usual.patient |= times.is_beyond();
            // Too few to be a fault, and no example either: else a few bad ones in each window would become usual.
            let odd = usual.windows >= LEARNED && p99_ns > ODD * usual.p99_ns;
            let weight = if slow || odd {
                SLOW_WEIGHT
            } else {
                usual.windows += 1;
                WEIGHT.max(1.0 / usual.windows as f64)
            };
            let long = times.longer_than((ODD * usual.p99_ns).max(LONG_NS) as u64) as f64;
            usual.long += weight * (long - usual.long);
            usual.p99_ns += weight * (p99_ns - usual.p99_ns);
            usual.last = windows;
        }
        for peer in rested(window) {
            if let Some(usual) = self.rows.get_mut(&(DEPENDENCY_TIME.id, peer)) {
                usual.patient = true;
            }
        }
    }
}
