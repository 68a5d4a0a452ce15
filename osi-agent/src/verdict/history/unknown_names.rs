//! How many of the names that are asked for usually do not exist, by resolver: search lists alone ask for many.

use std::collections::BTreeMap;

use crate::layer::Window;
use crate::layer::l7_application::dns::{answers, resolved};
use crate::scope::Scope;

/// Resolvers that are followed; while it is full of living ones, new ones are not.
const MAX_RESOLVERS: usize = 512;

/// Windows after which one that is not heard of is forgotten.
const FORGOTTEN: u64 = 3600;

/// Windows with answers before anything is usual.
const LEARNED: u64 = 5;

/// What is kept of the past by each further window.
const KEPT: f64 = 15.0 / 16.0;

/// Weight of a window that is worse than the usual by this factor: it is usual after a quarter of an hour, and not before.
const ODD_WEIGHT: f64 = 1.0 / 4096.0;
const ODD: f64 = 3.0;

/// Answers of one resolver.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    answers: f64,
    /// Those that say there is no such name.
    unknown: f64,
    windows: u64,
    /// The last one.
    last: u64,
}

impl Usual {
    fn ratio(&self) -> f64 {
        self.unknown / self.answers.max(1.0)
    }
}

/// Usual shares by resolver.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnknownNames {
    rows: BTreeMap<Scope, Usual>,
}

impl UnknownNames {
    /// The usual share of a resolver's answers; `None` until enough windows have been seen.
    pub(crate) fn usual(&self, resolver: &Scope) -> Option<f64> {
        let usual = self.rows.get(resolver)?;
        (usual.windows >= LEARNED).then(|| usual.ratio())
    }

    /// Takes in a window; `is_odd` says of which resolvers it is no example.
    pub(super) fn learn(&mut self, windows: u64, window: &Window, is_odd: impl Fn(&Scope) -> bool) {
        if self.rows.len() >= MAX_RESOLVERS {
            self.rows
                .retain(|_, usual| usual.last + FORGOTTEN > windows);
        }
        for row in resolved(window) {
            let all = answers(&row.outcomes) as f64;
            let is_full = self.rows.len() >= MAX_RESOLVERS && !self.rows.contains_key(&row.scope);
            if all == 0.0 || is_full {
                continue;
            }
            let unknown = row.outcomes.nxdomain as f64;
            let pending = is_odd(&row.scope);
            let usual = self.rows.entry(row.scope).or_default();
            let is_worse = usual.windows >= LEARNED && unknown / all > ODD * usual.ratio();
            // Of few answers even one is a large share, and says nothing.
            if pending || is_worse && unknown > 1.0 {
                usual.answers += ODD_WEIGHT * all;
                usual.unknown += ODD_WEIGHT * unknown;
            } else {
                usual.answers = KEPT * usual.answers + all;
                usual.unknown = KEPT * usual.unknown + unknown;
                usual.windows += 1;
            }
            usual.last = windows;
        }
    }
}
