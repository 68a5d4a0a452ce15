//! What connection tracking counts of its own failures.

use serde::{Deserialize, Serialize};

/// Counters of a namespace's connection tracking, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conntrack {
    /// Packets dropped, most of [`Self::insert_failed`] included (`drop`).
    pub dropped: u64,
    /// Connections that could not be entered, as a rule because another one has the same addresses and ports
    /// (`insert_failed`).
    pub insert_failed: u64,
    /// Connections forgotten before their time to make room (`early_drop`).
    pub evicted: u64,
}
