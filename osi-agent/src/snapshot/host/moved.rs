//! Which namespaces a costly look is due in, because a counter of theirs moved.
//!
//! The kernel walks the sockets of all namespaces for one dump, so that a dump for each namespace and window costs as much as
//! their square. The counters are read anyway.

use std::collections::HashMap;

use crate::snapshot::{Mib, Mibs};

/// Namespaces whose counters are remembered.
const NAMESPACES: usize = 4096;

/// Passes that are looked at after a counter last moved: what ends after the fault is worth seeing.
const PASSES: u8 = 3;

/// Some counters of all namespaces.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Their sum in this pass in the namespace at hand; `None` where they could not be read or the kernel keeps none of them.
    sum: Option<u64>,
    /// By inode: the sum in the last pass, and how many passes are still to be looked at.
    known: HashMap<u32, (u64, u8)>,
}

impl Moved {
    /// Forgets the previous namespace.
    pub(super) fn reset(&mut self) {
        self.sum = None;
    }

    /// Takes over what the reader of counters found in the namespace at hand.
    pub(super) fn note(&mut self, mibs: &Mibs, counters: &[Mib]) {
        let values = counters.iter().filter_map(|mib| mibs.get(*mib));
        self.sum = values.reduce(u64::saturating_add);
    }

    /// Whether this pass looks at the namespace. Counters that could not be read may have moved.
    pub(super) fn is_due(&mut self, inode: u32) -> bool {
        let Some(sum) = self.sum else { return true };
        // Namespaces of the past go with the others, which costs these one move at most.
        if self.known.len() >= NAMESPACES && !self.known.contains_key(&inode) {
            self.known.clear();
        }
        let (before, left) = self.known.entry(inode).or_insert((sum, 0));
        let due = if *before == sum {
            left.saturating_sub(1)
        } else {
            PASSES
        };
        (*before, *left) = (sum, due);
        due > 0
    }

    /// What was looked for is still there: the next passes look again, moved or not.
    pub(super) fn look_again(&mut self, inode: u32) {
        if let Some((_, left)) = self.known.get_mut(&inode) {
            *left = PASSES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_moved_is_looked_at() {
        let mut moved = Moved::default();
        let mut pass = |sum: Option<u64>, found| {
            moved.reset();
            if let Some(sum) = sum {
                let mut mibs = Mibs::default();
                mibs.set(Mib::TcpWinProbe, 1);
                mibs.set(Mib::ListenDrops, sum);
                moved.note(&mibs, &[Mib::TcpWinProbe, Mib::ListenDrops]);
            }
            let due = moved.is_due(7);
            if found {
                moved.look_again(7);
            }
            due
        };
        // The first pass is no move.
        assert!(!pass(Some(5), false) && !pass(Some(5), false));
        assert!(pass(Some(6), false) && pass(Some(6), false) && pass(Some(6), false));
        assert!(!pass(Some(6), false));
        // What is still there is looked at again.
        assert!(pass(Some(7), false) && pass(Some(7), false) && pass(Some(7), true));
        assert!(pass(Some(7), false) && pass(Some(7), false) && !pass(Some(7), false));
        assert!(pass(None, false));
    }
}
