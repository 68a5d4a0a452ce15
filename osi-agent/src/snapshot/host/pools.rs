//! Local ports of TCP in use, per source, destination and destination port.

use std::collections::HashMap;
use std::net::IpAddr;

use super::diag::{Socket, state};
use super::ports::{Ports, Range, Reuse};
use super::stalled::Probing;
use crate::snapshot::{PortPool, Stalled};

/// Destinations that are counted per namespace while its sockets are read.
const TUPLES: usize = 65_536;

/// Pools that are kept per namespace.
const POOLS: usize = 64;

/// A pool is worth a row from this share of its ports on: one in a hundred.
pub(super) const SHARE: u64 = 100;

/// Source, destination and destination port.
pub(super) type Tuple = (IpAddr, IpAddr, u16);

/// Sockets per tuple.
#[derive(Debug, Default)]
pub(super) struct Tuples {
    counts: HashMap<Tuple, Count>,
    /// Sockets of destinations beyond the bound.
    pub(super) omitted: u64,
    /// Connections whose peer's window is being probed.
    pub(super) probing: Probing,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    used: u64,
    time_wait: u64,
    reusable: u64,
}

impl Tuples {
    /// Counts a socket, unless its port is none that `connect()` may choose.
    pub(super) fn add(&mut self, socket: &Socket, range: &Range, listening: &Ports, reuse: Reuse) {
        if listening.contains(socket.local.1) {
            return;
        }
        self.probing.add(socket);
        if !range.contains(socket.local.1) {
            return;
        }
        let tuple = tuple(socket);
        if self.counts.len() >= TUPLES && !self.counts.contains_key(&tuple) {
            self.omitted += 1;
            return;
        }
        let count = self.counts.entry(tuple).or_default();
        if reuse.allows(socket) {
            count.reusable += 1;
            return;
        }
        count.used += 1;
        count.time_wait += u64::from(socket.state == state::TIME_WAIT);
    }

    /// Adds the other family's: IPv4 sockets of both kinds share tuples.
    pub(super) fn append(&mut self, other: Self) {
        let Self {
            counts,
            omitted,
            probing,
        } = other;
        self.probing.append(probing);
        for (tuple, count) in counts {
            let sum = self.counts.entry(tuple).or_default();
            sum.used += count.used;
            sum.time_wait += count.time_wait;
            sum.reusable += count.reusable;
        }
        self.omitted += omitted;
    }

    /// Fills in how many connections to each of these peers are not closed.
    pub(super) fn open(&self, peers: &mut [Stalled]) {
        for (tuple, count) in &self.counts {
            let peer = peers
                .iter_mut()
                .find(|row| (row.remote, row.port) == (tuple.1, tuple.2));
            if let Some(peer) = peer {
                peer.open += count.used - count.time_wait;
            }
        }
    }

    /// Pools that are worth a row, worst first.
    pub(super) fn pools(self, usable: u64, lower_bound: bool) -> Vec<PortPool> {
        let mut pools: Vec<_> = self
            .counts
            .into_iter()
            .filter(|(_, count)| count.used * SHARE >= usable.max(1))
            .map(|((local, remote, port), count)| {
                let Count {
                    used,
                    time_wait,
                    reusable,
                } = count;
                PortPool {
                    local,
                    remote,
                    port,
                    used,
                    time_wait,
                    reusable,
                    usable,
                    lower_bound,
                    holders: None,
                }
            })
            .collect();
        pools.sort_by_key(|pool| {
            (
                std::cmp::Reverse(pool.used),
                pool.remote,
                pool.port,
                pool.local,
            )
        });
        pools.truncate(POOLS);
        pools
    }
}

/// The tuple that a socket belongs to.
pub(super) fn tuple(socket: &Socket) -> Tuple {
    (socket.local.0, socket.remote.0, socket.remote.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(state: u8, local: &str, remote: &str) -> Socket {
        let end = |text: &str| {
            let address: std::net::SocketAddr = text.parse().expect("address");
            (address.ip(), address.port())
        };
        Socket {
            state,
            local: end(local),
            remote: end(remote),
            timer: 0,
            expires_ms: 0,
            rqueue: 0,
            wqueue: 0,
            uid: 0,
            inode: 1,
            cookie: 0,
        }
    }

    fn waiting(left_ms: u32, local: &str) -> Socket {
        Socket {
            expires_ms: left_ms,
            ..socket(state::TIME_WAIT, local, "10.0.0.2:80")
        }
    }

    #[test]
    fn only_ephemeral_ports_of_active_opens_count() {
        let range = Range::of(1000, 1099);
        let mut listening = Ports::default();
        listening.insert(1050);
        let mut tuples = Tuples::default();
        for socket in [
            socket(1, "10.0.0.1:1001", "10.0.0.2:80"),
            socket(state::TIME_WAIT, "10.0.0.1:1002", "10.0.0.2:80"),
            socket(state::SYN_SENT, "10.0.0.1:1003", "10.0.0.2:80"),
            socket(1, "10.0.0.1:1004", "10.0.0.2:81"),
            // Accepted, and one bound outside of the range.
            socket(1, "10.0.0.1:1050", "10.0.0.2:80"),
            socket(1, "10.0.0.1:999", "10.0.0.2:80"),
        ] {
            tuples.add(&socket, &range, &listening, Reuse::NONE);
        }
        let pools = tuples.pools(range.usable(&listening), false);
        let shown: Vec<_> = pools
            .iter()
            .map(|pool| (pool.port, pool.used, pool.time_wait, pool.usable))
            .collect();
        assert_eq!(shown, [(80, 3, 1, 99), (81, 1, 0, 99)]);
    }

    #[test]
    fn what_a_new_connection_may_take_is_not_in_use() {
        let range = Range::of(1000, 1099);
        let sockets = [
            socket(1, "10.0.0.1:1001", "10.0.0.2:80"),
            waiting(59_500, "10.0.0.1:1002"),
            waiting(59_000, "10.0.0.1:1003"),
            waiting(10, "10.0.0.1:1004"),
        ];
        let count = |reuse: Reuse| {
            let mut tuples = Tuples::default();
            for socket in &sockets {
                tuples.add(socket, &range, &Ports::default(), reuse);
            }
            let pools = tuples.pools(100, false);
            (pools[0].used, pools[0].time_wait, pools[0].reusable)
        };
        assert_eq!(count(Reuse::NONE), (4, 3, 0));
        assert_eq!(count(Reuse::of(1)), (2, 1, 2));
        assert_eq!(count(Reuse::of(2)), (4, 3, 0), "not over loopback");
    }

    #[test]
    fn pools_below_one_percent_are_left_out_and_the_worst_come_first() {
        let mut tuples = Tuples::default();
        for port in 1..=200u16 {
            let tuple = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), port);
            let count = Count {
                used: port.into(),
                ..Count::default()
            };
            tuples.counts.insert(tuple, count);
        }
        let pools = tuples.pools(15_000, true);
        let used: Vec<_> = pools.iter().map(|pool| pool.used).collect();
        assert_eq!((used.len(), used[0], used[50]), (51, 200, 150));
        assert!(pools.iter().all(|pool| pool.lower_bound));
    }
}
