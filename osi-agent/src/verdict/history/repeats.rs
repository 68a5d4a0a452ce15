//! What happens seldom, and again and again: an expired certificate that one client in two seconds meets is as broken as one that
//! a hundred meet.

use std::collections::{BTreeMap, VecDeque};

use crate::scope::Scope;

/// Scopes that are followed at most; while it is full, new ones are not.
const BOUND: usize = 1024;

/// Clients that refuse what a TLS server shows them; in fewer windows it is a burst.
pub(crate) type Refusals = Repeats<10, 4>;

/// Requests in plain text where TLS is spoken: health checks come every five to ten seconds.
pub(crate) type Plaintexts = Repeats<30, 3>;

/// One window of a scope.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: u64,
    bad: u64,
    good: u64,
}

/// What went wrong and what went well, by window, of the last `SPAN` ones. It goes on where something went wrong in `OFTEN` of
/// them, until it fails to come for longer than it ever did between two of these.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeats<const SPAN: u64, const OFTEN: usize> {
    rows: BTreeMap<Scope, VecDeque<Seen>>,
    windows: u64,
}

impl<const SPAN: u64, const OFTEN: usize> Repeats<SPAN, OFTEN> {
    /// Takes in a window: scope, what went wrong, what went well.
    pub(super) fn observe(
        &mut self,
        windows: u64,
        rows: impl IntoIterator<Item = (Scope, u64, u64)>,
    ) {
        self.windows = windows;
        self.rows.retain(|_, seen| {
            seen.retain(|seen| seen.at + SPAN > windows);
            !seen.is_empty()
        });
        for (scope, bad, good) in rows {
            let is_known = self.rows.contains_key(&scope);
            if bad + good > 0 && (is_known || self.rows.len() < BOUND) {
                let at = windows;
                let seen = self.rows.entry(scope).or_default();
                seen.push_back(Seen { at, bad, good });
            }
        }
    }

    /// Where it goes on: what went wrong in the last windows, and what went well.
    pub(crate) fn going_on(&self) -> impl Iterator<Item = (&Scope, u64, u64)> {
        self.rows.iter().filter_map(|(scope, seen)| {
            let wrong = seen.iter().filter(|seen| seen.bad > 0);
            let at: Vec<_> = wrong.map(|seen| seen.at).collect();
            let gaps = at.windows(2).map(|pair| pair[1] - pair[0]);
            let over = at.last()? + gaps.max()? + 1;
            if at.len() < OFTEN || over <= self.windows {
                return None;
            }
            let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum();
            Some((scope, sum(|seen| seen.bad), sum(|seen| seen.good)))
        })
    }
}
