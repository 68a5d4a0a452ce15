//! Neighbours whose hardware address changed: there and back again is not a fail-over.
//!
//! The table is sampled once a window. Ordinary replies change an entry once a second at most (`locktime` of ARP), only
//! announcements do so faster; of those about every second window sees a change, which is soon enough. A socket for the
//! kernel's notifications would tell each change, but keep every namespace alive and take in every storm.

use std::collections::{BTreeMap, VecDeque};

use crate::layer::Window;
use crate::scope::Scope;
use crate::snapshot::LinkAddress;

/// How long a change is remembered.
pub(crate) const MOVE_SPAN_NS: u64 = 60_000_000_000;

/// Neighbours that are remembered; while it is full, new ones are not.
const MAX_NEIGHBOURS: usize = 256;

/// Changes that are remembered of each, the latest ones.
const MAX_MOVES: usize = 64;

/// A change of a neighbour's hardware address.
#[derive(Clone, Debug)]
struct Move {
    /// End of its window.
    at: u64,
    from: LinkAddress,
    to: LinkAddress,
}

/// The latest changes of one neighbour's hardware address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moved {
    moves: VecDeque<Move>,
}

impl Moved {
    /// How often it changed within [`MOVE_SPAN_NS`].
    pub(crate) fn count(&self) -> u64 {
        self.moves.len() as u64
    }

    /// How often it went back to an address that it had left within [`MOVE_SPAN_NS`].
    pub(crate) fn returns(&self) -> u64 {
        let left = |(position, back): &(usize, &Move)| {
            let mut before = self.moves.iter().take(*position);
            before.any(|earlier| earlier.from == back.to)
        };
        self.moves.iter().enumerate().filter(left).count() as u64
    }

    /// When it last changed, and between which two addresses.
    pub(crate) fn last(&self) -> Option<(u64, [&LinkAddress; 2])> {
        let Move { at, from, to } = self.moves.back()?;
        Some((*at, [from, to]))
    }
}

/// Such neighbours by scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moves {
    rows: BTreeMap<Scope, Moved>,
}

impl Moves {
    pub(super) fn observe(&mut self, window: &Window) {
        let now = window.now.boot_ns;
        for row in window.holders() {
            let (from, to) = (&row.before.link_address, &row.now.link_address);
            if from == to {
                continue;
            }
            let scope = Scope::neighbour(row.netns, &row.now.iface, row.now.address);
            if self.rows.len() >= MAX_NEIGHBOURS && !self.rows.contains_key(&scope) {
                continue;
            }
            let moved = self.rows.entry(scope).or_default();
            moved.moves.push_back(Move {
                at: now,
                from: from.clone(),
                to: to.clone(),
            });
            if moved.moves.len() > MAX_MOVES {
                moved.moves.pop_front();
            }
        }
        self.rows.retain(|_, moved| {
            moved.moves.retain(|change| change.at + MOVE_SPAN_NS >= now);
            !moved.moves.is_empty()
        });
    }

    /// Neighbours that changed within [`MOVE_SPAN_NS`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Scope, &Moved)> {
        self.rows.iter()
    }
}
