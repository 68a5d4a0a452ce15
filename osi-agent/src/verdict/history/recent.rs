//! What was seen about destinations in the last windows.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use crate::scope::Netns;

/// Windows that are remembered: what others say of a fault, and what TCP tries again, comes seconds apart.
const WINDOWS: u64 = 10;

/// Destinations that are followed at most; while it is full, new ones are not.
const BOUND: usize = 1024;

/// One thing per destination and window in which there was any.
#[derive(Clone, Debug)]
pub(crate) struct Recent<T> {
    rows: BTreeMap<Netns, BTreeMap<IpAddr, VecDeque<(u64, T)>>>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        let rows = BTreeMap::new();
        Self { rows }
    }
}

impl<T> Recent<T> {
    /// A window begins: what is too old goes.
    pub(super) fn forget(&mut self, windows: u64) {
        self.forget_unless(windows, |_, _| false);
    }

    /// A window begins: what is too old goes, but for the last row of each destination for which it still holds.
    pub(super) fn forget_unless(&mut self, windows: u64, holds: impl Fn(&Netns, IpAddr) -> bool) {
        self.rows.retain(|netns, destinations| {
            destinations.retain(|destination, seen| {
                let last = seen.back().map_or(0, |(at, _)| *at);
                let too_old = |at: u64| at + WINDOWS <= windows;
                let kept = too_old(last) && holds(netns, *destination);
                seen.retain(|(at, _)| !too_old(*at) || (kept && *at == last));
                !seen.is_empty()
            });
            !destinations.is_empty()
        });
    }

    /// What this window shows of a destination.
    pub(super) fn remember(&mut self, windows: u64, netns: &Netns, destination: IpAddr, seen: T) {
        let followed: usize = self.rows.values().map(BTreeMap::len).sum();
        let destinations = self.rows.entry(netns.clone()).or_default();
        if followed < BOUND || destinations.contains_key(&destination) {
            let rows = destinations.entry(destination).or_default();
            rows.push_back((windows, seen));
        }
    }

    /// Every destination of a namespace with its windows, oldest first and never empty.
    pub(crate) fn of(
        &self,
        netns: &Netns,
    ) -> impl Iterator<Item = (IpAddr, &VecDeque<(u64, T)>)> + use<'_, T> {
        let destinations = self.rows.get(netns).into_iter().flatten();
        destinations.map(|(destination, seen)| (*destination, seen))
    }
}
