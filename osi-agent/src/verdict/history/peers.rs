//! Connect outcomes by peer over the last windows: a handshake takes longer than a window to fail.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use osi_common::handshake::Peer;

use crate::layer::Window;
use crate::scope::Netns;

/// Windows that are added up.
const WINDOWS: u64 = 10;

/// Peers that are followed.
const MAX_PEERS: usize = 4096;

type Key = (Netns, IpAddr, u16);

/// Outcomes per peer and window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    rows: BTreeMap<Key, VecDeque<(u64, Peer)>>,
}

/// A peer over the last windows.
#[derive(Clone, Debug)]
pub(crate) struct PeerRecord<'a> {
    /// Namespace of the connecting side.
    pub(crate) netns: &'a Netns,
    /// Destination address.
    pub(crate) address: IpAddr,
    /// Destination port.
    pub(crate) port: u16,
    /// Sum of its outcomes.
    pub(crate) sum: Peer,
    /// Windows since a SYN was last sent again, or a connect last timed out.
    pub(crate) quiet_windows: u64,
}

impl Peers {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        self.rows.retain(|_, outcomes| {
            outcomes.retain(|(at, _)| at + WINDOWS > windows);
            !outcomes.is_empty()
        });
        for peer in window.peers() {
            let key = (peer.netns, peer.address, peer.port);
            if self.rows.len() < MAX_PEERS || self.rows.contains_key(&key) {
                self.rows
                    .entry(key)
                    .or_default()
                    .push_back((windows, peer.delta));
            }
        }
    }

    /// Every peer that was connected to in the last windows.
    pub(crate) fn records(&self, windows: u64) -> impl Iterator<Item = PeerRecord<'_>> {
        self.rows
            .iter()
            .map(move |((netns, address, port), outcomes)| {
                let mut sum = Peer::default();
                let mut last = 0;
                for (at, outcome) in outcomes {
                    sum.merge(outcome);
                    if outcome.syn_retransmits > 0 || outcome.timed_out > 0 {
                        last = *at;
                    }
                }
                PeerRecord {
                    netns,
                    address: *address,
                    port: *port,
                    sum,
                    quiet_windows: windows.saturating_sub(last),
                }
            })
    }

    /// What became of the connects to an address, all its ports together, in the last windows.
    pub(crate) fn towards(&self, netns: &Netns, address: IpAddr) -> Peer {
        let mut sum = Peer::default();
        let to_it = |key: &&Key| (&key.0, key.1) == (netns, address);
        for (_, outcomes) in self.rows.iter().filter(|(key, _)| to_it(key)) {
            for (_, outcome) in outcomes {
                sum.merge(outcome);
            }
        }
        sum
    }

    /// Windows since a SYN to an address was last sent again, or a connect to it last timed out; `None` where none was.
    pub(crate) fn unanswered_for(
        &self,
        netns: &Netns,
        address: IpAddr,
        windows: u64,
    ) -> Option<u64> {
        let to_it = |record: &PeerRecord| (record.netns, record.address) == (netns, address);
        let unanswered =
            |record: &PeerRecord| record.sum.syn_retransmits + record.sum.timed_out > 0;
        self.records(windows)
            .filter(|record| to_it(record) && unanswered(record))
            .map(|record| record.quiet_windows)
            .min()
    }

    /// Connects begun in a namespace in the last windows.
    pub(crate) fn attempts_in(&self, netns: &Netns) -> u64 {
        let here = self.rows.iter().filter(|((found, _, _), _)| found == netns);
        here.flat_map(|(_, outcomes)| outcomes)
            .map(|(_, outcome)| outcome.attempts)
            .sum()
    }
}
