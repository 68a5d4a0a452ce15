//! The ledger of failed connects: which layer ended them, and by what.

use std::collections::BTreeMap;
use std::sync::Arc;

use osi_common::drop::{self, UNNAMED};
use osi_common::failure::{Failure, Killer};
use osi_common::handshake::Killed;
use osi_common::layer::Layer;
use osi_common::occurrence::{Key, Kind};

use crate::layer::{Window, address};
use crate::scope::Scope;

/// Connects of one namespace that the same thing ended, with the same error for the application.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Namespace, or the host where the kernel did not tell.
    pub scope: Scope,
    /// The layer that ended them; `None` where nobody knows.
    pub layer: Option<Layer>,
    /// What ended them.
    pub what: Arc<str>,
    /// Error, 0 where the application gave up or nobody knows.
    pub errno: u32,
    /// How many.
    pub count: u64,
}

/// Layer and name of what ended a connect. `named` tells the reason of a drop and the function that dropped; a function stands in
/// for the reason where the kernel gives none.
pub fn killed_by(
    failure: Failure,
    named: impl FnOnce(u32) -> Option<(Arc<str>, Arc<str>)>,
) -> (Option<Layer>, Arc<str>) {
    if failure.killer == Killer::Dropped
        && let Some((reason, function)) = named(failure.reason)
    {
        let layer = drop::blame(&reason, &function).layer;
        let is_unnamed = *reason == *UNNAMED && !function.is_empty();
        return (Some(layer), if is_unnamed { function } else { reason });
    }
    (failure.killer.layer(), failure.killer.name().into())
}

/// The failed connects of the window, most first.
///
/// Where only one namespace is watched, those of others and of no known one are left out.
pub fn failed(window: &Window) -> Vec<Failed> {
    let mut rows: BTreeMap<_, Failed> = BTreeMap::new();
    let names = &window.now.kernel.reasons;
    for (key, now) in &window.now.kernel.occurrences {
        let before = window.previous.kernel.occurrences.get(key);
        let count = now
            .count
            .saturating_sub(before.map_or(0, |before| before.count));
        let netns = window.netns(key.netns);
        if !is_failure(key.kind) || count == 0 || netns.is_none() && window.single_netns {
            continue;
        }
        let failure = Failure::of(key.code);
        let (layer, what) = killed_by(failure, |reason| {
            names.get(&(reason, key.location)).cloned()
        });
        let errno = if key.code == Key::OTHER {
            0
        } else {
            failure.errno
        };
        let place = (netns.map(|netns| netns.inode), layer, what.clone(), errno);
        let row = rows.entry(place).or_insert_with(|| Failed {
            scope: netns.map_or_else(Scope::host, Scope::netns),
            layer,
            what,
            errno,
            count: 0,
        });
        row.count += count;
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

/// The same by peer, without their errors; the drop that ended some is the last one's.
pub fn failed_by_peer(window: &Window) -> Vec<Failed> {
    let (names, previous) = (&window.now.kernel.reasons, &window.previous.kernel.peers);
    let mut rows = Vec::new();
    // In the order of their keys, so that of equals not a hash decides which come first.
    let peers: BTreeMap<_, _> = window.now.kernel.peers.iter().collect();
    for (key, now) in peers {
        let before = previous.get(key).copied().unwrap_or_default();
        let (killed, netns) = (now.killed.since(&before.killed), window.netns(key.netns));
        let Some(netns) = netns.filter(|_| killed != Killed::ZERO) else {
            continue;
        };
        for killer in Killer::ALL {
            let failure = Failure {
                errno: 0,
                killer,
                reason: now.drop_reason,
            };
            let (layer, what) = killed_by(failure, |reason| {
                names.get(&(reason, now.drop_location)).cloned()
            });
            rows.push(Failed {
                scope: Scope::peer(netns, address(key.family, &key.address), Some(key.port)),
                layer,
                what,
                errno: 0,
                count: killed.by(killer),
            });
        }
    }
    rows.retain(|row| row.count > 0);
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

/// Whether this kind of occurrence is a failed connect.
pub fn is_failure(kind: u32) -> bool {
    [Kind::ConnectFailed as u32, Kind::PortExhausted as u32].contains(&kind)
}
