//! Peers that somebody on this host tries to reach in vain, and whose packets were dropped.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};

use super::facts::Seen;
use super::history::TCP;
use super::{Evidence, Facts};
use crate::scope::Netns;

/// Peers that are named.
const NAMED: usize = 4;

/// Peers whose packets, in either direction, were among some that were dropped in a namespace.
pub(super) struct Stuck {
    /// Attempts that did not get through, by peer.
    pub(super) peers: BTreeMap<SocketAddr, u64>,
    /// Some were made in this namespace. Those of others go through it; private networks may use the same addresses twice, so that
    /// they are only likely to be the same.
    pub(super) of_this: bool,
    /// Some are more than an attempt that may still have been on its way when the window ended, while the dropped packet was
    /// a late one of an older connection: a SYN was sent again, or the packet was dropped on its way out. Then nothing is sent
    /// again (`tcp_retransmit_skb` tells of success only), and late packets come in.
    pub(super) proven: bool,
}

impl Stuck {
    /// Those among the samples of drops in a namespace.
    pub(super) fn among(facts: &Facts, netns: &Netns, samples: &[Seen]) -> Self {
        let of_tcp = || samples.iter().filter(|seen| seen.protocol == TCP);
        let ends_of_all: BTreeSet<SocketAddr> = of_tcp().flat_map(ends).flatten().collect();
        let sent = of_tcp().filter(|seen| seen.ifindex == 0);
        let sent: BTreeSet<SocketAddr> = sent.filter_map(|seen| ends(seen)[1]).collect();
        let (mut peers, mut of_this, mut proven) = (BTreeMap::new(), false, false);
        for peer in facts.history.peers.records(facts.history.windows) {
            let end = SocketAddr::new(peer.address.to_canonical(), peer.port);
            let sum = &peer.sum;
            let done = sum.connected + sum.refused + sum.port_exhausted;
            let attempts = sum.attempts.saturating_sub(done);
            // An attempt at the border of the window is no failure where others succeed at once.
            let failing = attempts > 0 && (sum.connected == 0 || sum.syn_retransmits > 0);
            if failing && ends_of_all.contains(&end) {
                of_this |= peer.netns == netns;
                proven |= sum.syn_retransmits + sum.timed_out > 0 || sent.contains(&end);
                peers.insert(end, attempts);
            }
        }
        Self {
            peers,
            of_this,
            proven,
        }
    }

    /// Some of them by name.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let row = |(peer, attempts): (&SocketAddr, &u64)| {
            let why = format!("attempts to {peer} that did not get through");
            Evidence::new("connects", *attempts as f64, "connections", why)
        };
        self.peers.iter().take(NAMED).map(row).collect()
    }
}

/// Where a dropped packet came from and where it was going.
pub(super) fn ends(seen: &Seen) -> [Option<SocketAddr>; 2] {
    let end = |address: Option<IpAddr>, port| Some(SocketAddr::new(address?.to_canonical(), port));
    [
        end(seen.local, seen.local_port),
        end(seen.remote, seen.remote_port),
    ]
}
