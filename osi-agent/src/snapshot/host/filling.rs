//! Readings on their way from a reader's thread to where they belong.

use std::fmt;

use super::Kept;
use crate::snapshot::Table;

/// Puts what was read at a moment into a state; answers how many rows were beyond the reader's bound.
pub(super) type Put<S> = dyn FnOnce(&mut S, u64) -> u64 + Send;

/// What a reader found, on its way from the thread to where it belongs.
pub(in crate::snapshot) struct Filling<S>(pub(super) Box<Put<S>>);

impl<S: 'static> Filling<S> {
    /// Puts one value where it belongs.
    pub(super) fn of(put: impl FnOnce(&mut S) + Send + 'static) -> Self {
        Self(Box::new(move |state, _| {
            put(state);
            0
        }))
    }

    /// Fills one table.
    pub(super) fn table<T: Send + 'static>(
        found: Kept<T>,
        of: fn(&mut S) -> &mut Table<T>,
    ) -> Self {
        Self(Box::new(move |state, read_ns| {
            let (rows, omitted) = found.into_parts();
            *of(state) = Table { read_ns, rows };
            omitted
        }))
    }

    /// Puts what was read at `read_ns` where it belongs; answers how many rows were beyond the reader's bound.
    pub(in crate::snapshot) fn apply(self, state: &mut S, read_ns: u64) -> u64 {
        self.0(state, read_ns)
    }
}

impl<S> fmt::Debug for Filling<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Filling")
    }
}
