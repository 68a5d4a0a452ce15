//! How long handshakes usually take, with each peer and at each listening port.

use std::collections::BTreeMap;

use osi_common::histogram::Coarse;

use crate::layer::l4_transport::handshake::{TCP_HANDSHAKE_CLIENT, TCP_HANDSHAKE_SERVER};
use crate::layer::{Signal, Window};
use crate::scope::{Scope, ScopeKind};

/// Scopes that are followed; while it is full of living ones, new ones are not.
const MAX_SCOPES: usize = 8192;

/// Windows after which one that is not heard of is forgotten.
const FORGOTTEN: u64 = 3600;

/// Windows with handshakes before anything is usual.
const LEARNED: u64 = 5;

/// Weight of a healthy window in the mean, once there are as many.
const WEIGHT: f64 = 1.0 / 16.0;

/// Weight of a slow one: a path that has moved for good is the usual one after a quarter of an hour, and not before.
const SLOW_WEIGHT: f64 = 1.0 / 4096.0;

/// A window that is worse than the usual by this factor counts as a slow one.
const ODD: f64 = 3.0;

/// What is usual in one scope.
#[derive(Clone, Copy, Debug)]
struct Usual {
    /// Mean of the windows' 99th percentiles.
    p99_ns: f64,
    /// Windows that it was learned from.
    windows: u64,
    /// The last one.
    last: u64,
}

/// Usual handshake times by scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paces {
    rows: BTreeMap<Scope, Usual>,
}

/// Handshake times of the window by peer and by listening port.
pub(crate) fn times(window: &Window) -> impl Iterator<Item = (Scope, Coarse)> {
    let peers = window.peers().into_iter().map(|peer| {
        let scope = Scope::peer(&peer.netns, peer.address, Some(peer.port));
        (scope, peer.times)
    });
    let listeners = window.listeners().into_iter().map(|row| {
        let scope = Scope::local_port(&row.netns, row.port);
        (scope, row.times)
    });
    peers
        .chain(listeners)
        .filter(|(_, times)| times.count() > 0)
}

/// The signal that such a scope's times belong to.
pub(crate) fn handshakes_of(scope: &Scope) -> &'static Signal {
    if scope.kind == ScopeKind::Listener {
        &TCP_HANDSHAKE_SERVER
    } else {
        &TCP_HANDSHAKE_CLIENT
    }
}

impl Paces {
    /// The usual 99th percentile; `None` until enough windows have been seen.
    pub(crate) fn usual_ns(&self, scope: &Scope) -> Option<u64> {
        let usual = self.rows.get(scope)?;
        (usual.windows >= LEARNED).then_some(usual.p99_ns as u64)
    }

    /// Takes in a window; `is_slow` says in which scopes it was worse than usual.
    pub(super) fn learn(
        &mut self,
        windows: u64,
        window: &Window,
        is_slow: impl Fn(&Scope) -> bool,
    ) {
        if self.rows.len() >= MAX_SCOPES {
            self.rows
                .retain(|_, usual| usual.last + FORGOTTEN > windows);
        }
        for (scope, times) in times(window) {
            let Some(p99_ns) = times.quantile_ns(9_900).map(|ns| ns as f64) else {
                continue;
            };
            if self.rows.len() >= MAX_SCOPES && !self.rows.contains_key(&scope) {
                continue;
            }
            let slow = is_slow(&scope);
            let usual = self.rows.entry(scope).or_insert(Usual {
                p99_ns,
                windows: 0,
                last: windows,
            });
            // Too few to be a fault, and no example either: else a few bad ones in each window would become usual.
            let odd = usual.windows >= LEARNED && p99_ns > ODD * usual.p99_ns;
            let weight = if slow || odd {
                SLOW_WEIGHT
            } else {
                usual.windows += 1;
                WEIGHT.max(1.0 / usual.windows as f64)
            };
            usual.p99_ns += weight * (p99_ns - usual.p99_ns);
            usual.last = windows;
        }
    }
}
