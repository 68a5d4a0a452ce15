//! What connection tracking counts of its own failures.

use serde::{Deserialize, Serialize};

/// Counters of a namespace's connection tracking, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conntrack {
    /// Packets dropped, [`Self::insert_failed`] included but for [`Self::chain_too_long`] (`drop`).
    pub dropped: u64,
    /// Connections that could not be entered, because another one has the same addresses and ports, or for the next reason
    /// (`insert_failed`).
    pub insert_failed: u64,
    /// Of these, connections whose place in the hash table has too many others (`chaintoolong`, 5.15 on; 0 before).
    pub chain_too_long: u64,
    /// Connections forgotten before their time to make room (`early_drop`).
    pub evicted: u64,
}

impl Conntrack {
    /// What was counted since an earlier reading; a counter that went backwards counts as not moved.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            dropped: self.dropped.saturating_sub(earlier.dropped),
            insert_failed: self.insert_failed.saturating_sub(earlier.insert_failed),
            chain_too_long: self.chain_too_long.saturating_sub(earlier.chain_too_long),
            evicted: self.evicted.saturating_sub(earlier.evicted),
        }
    }
}
