//! Counters that were not read in time: they stay where they were, so that their growth is told a window later, not never.

use super::sampler::{NAMESPACES, empty};
use super::{Mibs, Snapshot};

impl Snapshot {
    /// Gives counters that no reader answered for the values that they had in `previous`. They are blind in this snapshot and
    /// do not grow in it; the next one holds what they grew by meanwhile.
    ///
    /// Interfaces and queues are left out: what is shown of them are rates, and two windows' bytes in one are a wrong rate.
    pub fn keep(&mut self, previous: &Self) {
        let gone = self.blind.iter().any(|blind| blind.what == NAMESPACES);
        if self.namespaces.is_empty() && !gone {
            // Nobody answered at all; who is known is still there, and the kernel's own maps count for them.
            let known = previous.namespaces.iter();
            self.namespaces = known.map(|state| empty(&state.netns)).collect();
        }
        for state in &mut self.namespaces {
            let mut before = previous.namespaces.iter();
            if state.mibs == Mibs::default()
                && let Some(before) = before.find(|before| before.netns == state.netns)
            {
                state.mibs = before.mibs.clone();
            }
        }
        if self.host.softnet.is_empty() {
            self.host.softnet.clone_from(&previous.host.softnet);
        }
        for (table, before) in [
            (
                &mut self.host.neighbour_table_v4,
                previous.host.neighbour_table_v4,
            ),
            (
                &mut self.host.neighbour_table_v6,
                previous.host.neighbour_table_v6,
            ),
        ] {
            table.overflows = table.overflows.or(before.overflows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Window;
    use crate::scope::Netns;
    use crate::snapshot::{Blind, Mib};
    use osi_common::layer::Layer;

    fn read(value: u64) -> Snapshot {
        let mut state = empty(&Netns {
            inode: 7,
            cookie: 7,
            name: None,
        });
        state.mibs.set(Mib::IpReasmFails, value);
        Snapshot {
            namespaces: vec![state],
            ..Snapshot::default()
        }
    }

    fn growth(windows: &[Snapshot]) -> u64 {
        windows
            .windows(2)
            .map(|pair| {
                let window = Window {
                    previous: &pair[0],
                    now: &pair[1],
                    single_netns: true,
                };
                window
                    .mib(Mib::IpReasmFails)
                    .map(|(_, delta)| delta)
                    .sum::<u64>()
            })
            .sum()
    }

    #[test]
    fn growth_in_a_blind_window_is_told_in_the_next() {
        let first = read(5);
        let mut late = Snapshot::default();
        late.keep(&first);
        assert_eq!(late.namespaces.len(), 1, "the namespace is known");
        let mut half = read(0);
        half.namespaces[0].mibs = Mibs::default();
        half.keep(&late);
        assert_eq!(growth(&[first, late, half, read(9)]), 4);
    }

    #[test]
    fn a_namespace_that_is_gone_is_not_kept() {
        let mut gone = Snapshot {
            blind: vec![Blind {
                layer: Layer::L1,
                what: NAMESPACES.to_owned(),
                why: "it does not exist any more".to_owned(),
            }],
            ..Snapshot::default()
        };
        gone.keep(&read(5));
        assert!(gone.namespaces.is_empty());
    }
}
