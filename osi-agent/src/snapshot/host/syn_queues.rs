//! Unfinished handshakes per listener: what fills a SYN queue.
//!
//! The kernel walks the sockets of all namespaces for one dump, so it is asked only where a counter of the namespace says that
//! something is not as it should be: SYNs dropped, cookies sent, SYN-ACKs sent again. A queue that fills with handshakes nobody
//! finishes shows by the last of these within a second.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;

use super::diag::{self, Protocol, state};
use super::{Scratch, procfs, sockets};
use crate::scope::Netns;
use crate::snapshot::{Listener, Mib, Mibs, SynQueue};

/// What moves when a SYN queue is full or fills.
const MOVES: [Mib; 5] = [
    Mib::TcpReqQFullDrop,
    Mib::TcpReqQFullDoCookies,
    Mib::SyncookiesSent,
    Mib::ListenDrops,
    Mib::TcpSynRetrans,
];

/// Local ends that are counted per namespace.
const ENDS: usize = 4096;

/// Namespaces whose counters are remembered.
const NAMESPACES: usize = 4096;

/// Passes that are looked at after a counter last moved: the queue empties after the fault, and that is worth seeing.
const PASSES: u8 = 3;

/// What the reader keeps of all namespaces.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// The counters' sum in this pass, from the reader of counters.
    pub(super) sum: Option<u64>,
    /// Listeners of the namespace at hand, from their reader.
    pub(super) listeners: Vec<Listener>,
    /// By inode: the sum in the last pass, and how many passes are still to be looked at.
    known: HashMap<u32, (u64, u8)>,
}

impl Moves {
    /// Forgets the previous namespace.
    pub(super) fn reset(&mut self) {
        self.sum = None;
        self.listeners.clear();
    }

    /// The sum of the counters that tell; `None` where the kernel keeps none of them.
    pub(super) fn sum_of(mibs: &Mibs) -> Option<u64> {
        let values = MOVES.iter().filter_map(|mib| mibs.get(*mib));
        values.reduce(u64::saturating_add)
    }

    /// Whether this pass looks at the namespace. Counters that could not be read may have moved.
    fn is_due(&mut self, inode: u32) -> bool {
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
}

/// What was found: queues that are not empty, and `tcp_syncookies`.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) queues: Vec<SynQueue>,
    pub(super) cookies: Option<u8>,
}

/// Counts the request sockets of every listener, where a look is due.
pub(super) fn read(netns: &Netns, scratch: &mut Scratch) -> io::Result<Found> {
    if !scratch.moves.is_due(netns.inode) {
        return Ok(Found::default());
    }
    sockets::check_module()?;
    let Scratch {
        netlink,
        text,
        moves,
        ..
    } = scratch;
    // The request's state has a bit of its own, and kernels that show it as SYN_RECV may filter by that.
    let states = 1 << state::SYN_RECV | 1 << state::NEW_SYN_RECV;
    let mut ends: BTreeMap<(IpAddr, u16), u64> = BTreeMap::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let part = diag::sockets(
            (family, Protocol::Tcp),
            states,
            &[],
            netlink,
            BTreeMap::new,
            |part: &mut BTreeMap<_, u64>, socket| {
                if part.len() < ENDS || part.contains_key(&socket.local) {
                    *part.entry(socket.local).or_default() += 1;
                }
            },
        )?;
        for (end, count) in part {
            *ends.entry(end).or_default() += count;
        }
    }
    let cookies = procfs::optional_setting("ipv4/tcp_syncookies", 0, text)?;
    let most = procfs::setting("ipv4/tcp_max_syn_backlog", 0, text)?;
    let queues = queues(&moves.listeners, &ends, |backlog| {
        capacity(backlog, most, cookies.unwrap_or(0) > 0)
    });
    Ok(Found { queues, cookies })
}

/// Where the next SYN is dropped or answered by a cookie: at the backlog (`inet_csk_reqsk_queue_is_full`; newer kernels, 6.18
/// among them, let one more in); without cookies the
/// last quarter of `tcp_max_syn_backlog` is kept for peers that the kernel knows (`tcp_conn_request`).
fn capacity(backlog: u32, most: u64, cookies: bool) -> u64 {
    let backlog = u64::from(backlog);
    if cookies {
        return backlog;
    }
    backlog.min(most - most / 4 + 1)
}

/// Ends by the listener that they belong to: of the address itself, else of all addresses.
fn queues(
    listeners: &[Listener],
    ends: &BTreeMap<(IpAddr, u16), u64>,
    capacity: impl Fn(u32) -> u64,
) -> Vec<SynQueue> {
    let mut used: BTreeMap<(IpAddr, u16), SynQueue> = BTreeMap::new();
    for ((address, port), count) in ends {
        let here = || listeners.iter().filter(|listener| listener.port == *port);
        let exact = here().find(|listener| listener.address == *address);
        let Some(listener) = exact.or_else(|| here().find(|row| row.address.is_unspecified()))
        else {
            continue;
        };
        let key = (listener.address, listener.port);
        let queue = used.entry(key).or_insert_with(|| SynQueue {
            address: listener.address,
            port: listener.port,
            used: 0,
            capacity: capacity(listener.backlog),
        });
        queue.used += count;
    }
    used.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, port: u16) -> Listener {
        Listener {
            address: address.parse().expect("address"),
            port,
            queued: 0,
            backlog: 8,
            inode: 1,
            uid: 0,
        }
    }

    #[test]
    fn requests_belong_to_the_nearest_listener() {
        let all = [listener("0.0.0.0", 80), listener("10.0.0.1", 80)];
        let end = |text: &str, port| (text.parse().expect("address"), port);
        let ends = BTreeMap::from([
            (end("10.0.0.1", 80), 3),
            (end("10.0.0.2", 80), 2),
            (end("10.0.0.3", 80), 1),
            (end("10.0.0.1", 81), 9),
        ]);
        let found = queues(&all, &ends, u64::from);
        let shown: Vec<_> = found
            .iter()
            .map(|row| (row.address.to_string(), row.used, row.capacity))
            .collect();
        let expected = [("0.0.0.0", 3, 8), ("10.0.0.1", 3, 8)];
        assert_eq!(
            shown,
            expected.map(|(at, used, of)| (at.to_owned(), used, of))
        );
    }

    #[test]
    fn without_cookies_a_quarter_is_kept() {
        assert_eq!(capacity(4096, 256, true), 4096);
        assert_eq!(capacity(4096, 256, false), 193);
        assert_eq!(capacity(8, 256, false), 8);
    }

    #[test]
    fn only_what_moved_is_looked_at() {
        let mut moves = Moves::default();
        let mut pass = |sum| {
            moves.reset();
            moves.sum = sum;
            moves.is_due(7)
        };
        // The first pass is no move.
        assert!(!pass(Some(5)) && !pass(Some(5)));
        assert!(pass(Some(6)) && pass(Some(6)) && pass(Some(6)));
        assert!(!pass(Some(6)));
        assert!(pass(None));
    }
}
