//! What was not read in time stays as it was, so that its growth is told a window later, not never.

use super::host::readers::{READERS, Read};
use super::sampler::{HostSample, NAMESPACES};
use super::{NetnsState, Snapshot};

impl HostSample {
    /// Gives everything that no reader answered for, and that only means something over time, what it was in `previous`.
    /// It is blind in this sample and does not grow in it; the next one holds what it grew by meanwhile.
    pub fn keep(&mut self, previous: &Snapshot) {
        let gone = self.blind.iter().any(|blind| blind.what == NAMESPACES);
        if self.namespaces.is_empty() && !gone {
            // Nobody answered at all; who is known is still there, and the kernel's own maps count for them.
            let known = previous.namespaces.iter();
            self.namespaces = known
                .map(|state| NetnsState::unread(&state.netns))
                .collect();
        }
        for reader in READERS {
            match reader.read {
                Read::Host { keep, .. } => keep(&mut self.host, &previous.host),
                Read::Namespace { keep, .. } => {
                    for state in &mut self.namespaces {
                        let mut before = previous.namespaces.iter();
                        if let Some(before) = before.find(|before| before.netns == state.netns) {
                            keep(state, before);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use osi_common::layer::Layer;

    use super::*;
    use crate::layer::Window;
    use crate::scope::{Iface, Netns};
    use crate::snapshot::{Blind, Mib, Mibs, Qdisc, Table};

    const SECOND: u64 = 1_000_000_000;

    /// Everything, read in this second, when all counters were at this value.
    fn read(second: u64, value: u64) -> HostSample {
        let mut state = NetnsState::unread(&Netns {
            inode: 7,
            cookie: 7,
            name: None,
            ..Netns::default()
        });
        state.mibs.set(Mib::IpReasmFails, value);
        state.qdiscs = Table {
            read_ns: second * SECOND,
            rows: vec![qdisc(value)],
        };
        HostSample {
            namespaces: vec![state],
            ..HostSample::default()
        }
    }

    fn qdisc(bytes: u64) -> Qdisc {
        Qdisc {
            iface: Iface {
                ifindex: 2,
                name: "eth0".to_owned(),
            },
            kind: "tbf".to_owned(),
            handle: 0x1_0000,
            parent: 0xffff_ffff,
            bytes,
            packets: 0,
            drops: 0,
            overlimits: 0,
            backlog_bytes: 0,
            backlog_packets: 0,
            limit_packets: None,
            limit_bytes: None,
            rate_bits_per_s: None,
            shaped_bytes: None,
        }
    }

    /// The snapshots of these seconds, 1 on, each keeping what it must of the one before.
    fn snapshots(samples: Vec<HostSample>) -> Vec<Snapshot> {
        let mut taken: Vec<Snapshot> = Vec::new();
        for (second, mut sample) in (1..).zip(samples) {
            if let Some(previous) = taken.last() {
                sample.keep(previous);
            }
            taken.push(Snapshot {
                boot_ns: second * SECOND,
                namespaces: sample.namespaces,
                ..Snapshot::default()
            });
        }
        taken
    }

    /// What is told of each window.
    fn windows<T>(taken: &[Snapshot], told: impl Fn(&Window) -> T) -> Vec<T> {
        let window = |pair: &[Snapshot]| {
            told(&Window {
                previous: &pair[0],
                now: &pair[1],
                single_netns: true,
            })
        };
        taken.windows(2).map(window).collect()
    }

    #[test]
    fn what_grew_in_blind_windows_is_told_once_over_the_time_that_it_took() {
        let unread = HostSample::default();
        let mut half = read(3, 9);
        half.namespaces[0].mibs = Mibs::default();
        half.namespaces[0].qdiscs = Table::default();
        let taken = snapshots(vec![read(1, 5), unread, half, read(4, 11), read(5, 12)]);
        assert_eq!(taken[1].namespaces.len(), 1, "the namespace is known");
        let mibs = windows(&taken, |window| {
            window
                .mib(Mib::IpReasmFails)
                .map(|(_, delta)| delta)
                .sum::<u64>()
        });
        assert_eq!(mibs, [0, 0, 6, 1]);
        let rates = windows(&taken, |window| {
            let rate =
                |row: crate::layer::Row<Qdisc>| row.per_second(row.now.bytes - row.before.bytes);
            window.qdiscs().map(rate).collect::<Vec<_>>()
        });
        assert_eq!(rates, [vec![], vec![], vec![2.0], vec![1.0]]);
    }

    #[test]
    fn a_namespace_that_is_gone_is_not_kept() {
        let mut gone = HostSample {
            blind: vec![Blind {
                layer: Layer::L1,
                what: NAMESPACES.to_owned(),
                why: "it does not exist any more".to_owned(),
            }],
            ..HostSample::default()
        };
        gone.keep(&snapshots(vec![read(1, 5)])[0]);
        assert!(gone.namespaces.is_empty());
    }
}
