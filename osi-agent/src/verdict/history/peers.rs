//! Connect outcomes by peer over the last windows: a handshake takes longer than a window to fail.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Range};

use osi_common::handshake::Peer;

use crate::layer::Window;
use crate::scope::Netns;

/// Windows that are added up.
const WINDOWS: u64 = 10;

/// Windows without another try after which nobody is taken to try any more.
const QUIET_WINDOWS: u64 = 2;

/// The first SYN is sent again after this time (`TCP_TIMEOUT_INIT`).
const FIRST_GAP_NS: u64 = 1_000_000_000;

/// Those of one connect are at most this far apart (`TCP_RTO_MAX`).
const LONGEST_GAP_NS: u64 = 120 * FIRST_GAP_NS;

/// Peers that are followed.
const MAX_PEERS: usize = 4096;

type Key = (Netns, IpAddr, u16);

/// Outcomes per peer and window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    rows: BTreeMap<Key, VecDeque<(u64, Peer)>>,
    hanging: BTreeMap<Key, Hanging>,
}

/// Connects to one peer that wait.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hanging {
    /// How many there are.
    pub(crate) open: u64,
    /// SYNs that were sent again, and connects that timed out, since it last answered anybody.
    pub(crate) silence: u64,
    /// None of them began before this (`CLOCK_BOOTTIME`).
    since_ns: u64,
    /// When there was silence, or an answer, last, else when they were seen first.
    last_ns: u64,
}

impl Hanging {
    /// Whether the next SYN of any of them would have been sent by now, so that they were given up, and their ends missed: each
    /// gap is as long as all before it and one second more, and the kernel's long timers are late by an eighth at most.
    fn is_over(&self, now_ns: u64) -> bool {
        let gap_ns = (self.last_ns - self.since_ns + FIRST_GAP_NS).min(LONGEST_GAP_NS);
        self.last_ns + gap_ns + gap_ns / 8 + FIRST_GAP_NS < now_ns
    }
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
    /// What waits there, however long ago it began.
    pub(crate) hanging: Hanging,
}

impl Peers {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        let now_ns = window.now.boot_ns;
        self.rows.retain(|_, outcomes| {
            outcomes.retain(|(at, _)| at + WINDOWS > windows);
            !outcomes.is_empty()
        });
        for peer in window.peers() {
            let key = (peer.netns, peer.address, peer.port);
            let silence = peer.delta.syn_retransmits + peer.delta.timed_out;
            if peer.waiting == 0 {
                self.hanging.remove(&key);
            } else if self.hanging.len() < MAX_PEERS || self.hanging.contains_key(&key) {
                let begun_ns = now_ns.saturating_sub(window.elapsed_ns());
                let new = Hanging {
                    // A SYN that is sent again in this window may be of a connect that began before it.
                    since_ns: begun_ns.saturating_sub(FIRST_GAP_NS),
                    last_ns: now_ns,
                    ..Hanging::default()
                };
                let row = self.hanging.entry(key.clone()).or_insert(new);
                row.open = peer.waiting;
                row.silence += silence;
                let answers = peer.delta.connected + peer.delta.refused;
                if answers > 0 {
                    row.silence = 0;
                }
                if answers + silence > 0 {
                    row.last_ns = now_ns;
                }
            }
            if self.rows.len() < MAX_PEERS || self.rows.contains_key(&key) {
                self.rows
                    .entry(key)
                    .or_default()
                    .push_back((windows, peer.delta));
            }
        }
        self.hanging.retain(|_, row| !row.is_over(now_ns));
    }

    /// Every peer that was connected to in the last windows, or that connects still wait for.
    pub(crate) fn records(&self, windows: u64) -> impl Iterator<Item = PeerRecord<'_>> {
        let keys: BTreeSet<&Key> = self.rows.keys().chain(self.hanging.keys()).collect();
        let of = move |key| {
            let outcomes = self.rows.get(key).into_iter().flatten();
            let hanging = self.hanging.get(key).copied().unwrap_or_default();
            PeerRecord::new(windows, key, outcomes, hanging)
        };
        keys.into_iter().map(of)
    }

    /// What became of the connects to an address, all its ports together, in the last windows.
    pub(crate) fn towards(&self, netns: &Netns, address: IpAddr) -> Peer {
        let mut sum = Peer::default();
        let outcomes = self.to(netns, address).flat_map(|(_, outcomes)| outcomes);
        for (_, outcome) in outcomes {
            sum.merge(outcome);
        }
        sum
    }

    /// Whether connects to an address were tried of late, and none of them arrived: who refuses has been reached.
    pub(crate) fn in_vain(&self, netns: &Netns, address: IpAddr, windows: u64) -> bool {
        let outcomes = self.to(netns, address).flat_map(|(_, outcomes)| outcomes);
        let mut tried = false;
        for (at, outcome) in outcomes {
            if outcome.connected + outcome.refused > 0 {
                return false;
            }
            let tries = outcome.attempts + outcome.syn_retransmits + outcome.timed_out;
            tried |= tries > 0 && windows.saturating_sub(*at) <= QUIET_WINDOWS;
        }
        tried
    }

    /// The rows of an address, one for each port.
    fn to(&self, netns: &Netns, address: IpAddr) -> Range<'_, Key, VecDeque<(u64, Peer)>> {
        let port = |port: u16| (netns.clone(), address, port);
        self.rows.range(port(0)..=port(u16::MAX))
    }

    /// Connects begun in a namespace in the last windows.
    pub(crate) fn attempts_in(&self, netns: &Netns) -> u64 {
        let here = self.rows.iter().filter(|((found, _, _), _)| found == netns);
        here.flat_map(|(_, outcomes)| outcomes)
            .map(|(_, outcome)| outcome.attempts)
            .sum()
    }
}

impl<'a> PeerRecord<'a> {
    fn new(
        windows: u64,
        (netns, address, port): &'a Key,
        outcomes: impl Iterator<Item = &'a (u64, Peer)>,
        hanging: Hanging,
    ) -> Self {
        let mut sum = Peer::default();
        let mut last = 0;
        for (at, outcome) in outcomes {
            sum.merge(outcome);
            if outcome.syn_retransmits > 0 || outcome.timed_out > 0 {
                last = *at;
            }
        }
        Self {
            netns,
            address: *address,
            port: *port,
            sum,
            quiet_windows: windows.saturating_sub(last),
            hanging,
        }
    }
}
