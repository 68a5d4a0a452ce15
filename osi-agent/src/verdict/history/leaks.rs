//! Connections in CLOSE_WAIT that stay: whether there are more and more of them.

use std::collections::{BTreeMap, VecDeque};

use crate::layer::Window;
use crate::scope::Netns;
use crate::snapshot::End;

/// Windows in which growth is remembered.
const WINDOWS: u64 = 60;

/// Listeners and peers that are followed; while it is full, new ones are not.
const BOUND: usize = 1024;

/// Windows of which one figure is kept.
const STEP: u64 = 10;

/// How many such connections each end has had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaks {
    rows: BTreeMap<(Netns, End), Held>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    /// The most so far.
    most: u64,
    /// Windows in which there were more than ever before, and how many there had been until then.
    grew: VecDeque<(u64, u64)>,
    /// All connections of that end: as they are, and the fewest in every ten of the last windows.
    open: u64,
    fewest: VecDeque<(u64, u64)>,
}

impl Leaks {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        let mut before = std::mem::take(&mut self.rows);
        for (state, old) in window.namespaces() {
            // A table that no reader brought anew tells of no window.
            let new = old.is_none_or(|old| old.sessions.read_ns != state.sessions.read_ns);
            for row in state.sessions.iter().filter(|row| row.close_wait > 0) {
                let key = (state.netns.clone(), row.end);
                let known = before.remove(&key);
                if known.is_none() && self.rows.len() >= BOUND {
                    continue;
                }
                let mut held = known.unwrap_or_default();
                if new {
                    held.see(windows, row.long_close_wait, row.open);
                }
                held.grew.retain(|(at, _)| at + WINDOWS > windows);
                held.fewest.retain(|(at, _)| at + WINDOWS > windows);
                self.rows.insert(key, held);
            }
        }
    }

    /// In how many of the last windows there were more at this end than ever before; none where the same connections as before
    /// are only closed by the other end one by one, as those of a pool are that nobody needs at night.
    pub(crate) fn grew(&self, netns: &Netns, end: End) -> u64 {
        let held = self.rows.get(&(netns.clone(), end));
        let held = held.filter(|held| held.comes_from_new_ones());
        held.map_or(0, |held| held.grew.len() as u64)
    }
}

impl Held {
    /// Whether there are more connections in all, too: at least half as many more as nobody closes.
    fn comes_from_new_ones(&self) -> bool {
        let first = self.grew.front().map_or(self.most, |(_, before)| *before);
        let fewest = self.fewest.iter().map(|(_, fewest)| *fewest).min();
        let more = self.open.saturating_sub(fewest.unwrap_or(self.open));
        more >= self.most.saturating_sub(first) / 2
    }

    fn see(&mut self, windows: u64, now: u64, open: u64) {
        self.open = open;
        match self.fewest.back_mut() {
            Some((at, fewest)) if *at + STEP > windows => *fewest = open.min(*fewest),
            Some(_) | None => self.fewest.push_back((windows, open)),
        }
        if now > self.most {
            self.grew.push_back((windows, self.most));
            self.most = now;
        } else if now < self.most / 2 {
            // Most of them were closed after all: what comes is another matter.
            self.grew.clear();
            self.most = now;
        }
    }
}
