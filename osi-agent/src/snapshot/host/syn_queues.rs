//! Unfinished handshakes per listener: what fills a SYN queue.
//!
//! The kernel walks the sockets of all namespaces for one dump, so it is asked only where a counter of the namespace says that
//! something is not as it should be: SYNs dropped, cookies sent, SYN-ACKs sent again. A queue that fills with handshakes nobody
//! finishes shows by the last of these within a second.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::closest::closest;
use super::diag::{self, Protocol, state};
use super::{Scratch, procfs, sockets};
use crate::scope::Netns;
use crate::snapshot::{ALWAYS_COOKIES, Listener, Mib, SynQueue};

/// What moves when a SYN queue is full or fills.
pub(super) const MOVES: &[Mib] = &[
    Mib::TcpReqQFullDrop,
    Mib::TcpReqQFullDoCookies,
    Mib::SyncookiesSent,
    Mib::ListenDrops,
    Mib::TcpSynRetrans,
];

/// Local ends that are counted per namespace.
const ENDS: usize = 4096;

/// What was found: queues that are not empty, and `tcp_syncookies`.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) queues: Vec<SynQueue>,
    pub(super) cookies: Option<u8>,
}

/// Counts the request sockets of every listener, where a look is due.
pub(super) fn read(netns: &Netns, scratch: &mut Scratch) -> io::Result<Found> {
    if !scratch.syns_lost.is_due(netns.inode) {
        return Ok(Found::default());
    }
    let cookies = procfs::optional_setting("ipv4/tcp_syncookies", 0, &mut scratch.text)?;
    if cookies == Some(ALWAYS_COOKIES) {
        // No SYN waits in a queue, so that none fills, and the counter that makes a look due moves with each.
        let queues = Vec::new();
        return Ok(Found { queues, cookies });
    }
    sockets::check_module()?;
    let Scratch {
        netlink,
        text,
        listening,
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
    let most = procfs::setting("ipv4/tcp_max_syn_backlog", 0, text)?;
    let queues = queues(&listening.rows, &ends, |backlog| {
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

/// Ends by the listener that they belong to.
fn queues(
    listeners: &[Listener],
    ends: &BTreeMap<(IpAddr, u16), u64>,
    capacity: impl Fn(u32) -> u64,
) -> Vec<SynQueue> {
    let mut used: BTreeMap<(IpAddr, u16), SynQueue> = BTreeMap::new();
    for ((address, port), count) in ends {
        let here = || listeners.iter().filter(|listener| listener.port == *port);
        let Some(listens) = closest(here().map(|row| row.address), *address) else {
            continue;
        };
        let queue = used.entry((listens, *port)).or_insert_with(|| SynQueue {
            address: listens,
            port: *port,
            used: 0,
            // Each socket of a group that shares the port (SO_REUSEPORT) has a queue of its own.
            capacity: here()
                .filter(|row| row.address == listens)
                .map(|row| capacity(row.backlog))
                .sum(),
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
    fn requests_over_ipv6_are_not_of_the_listener_for_ipv4() {
        let all = [listener("0.0.0.0", 80), listener("::", 80)];
        let end = |text: &str| (text.parse().expect("address"), 80);
        let ends = BTreeMap::from([(end("fd00::1"), 3), (end("10.0.0.1"), 2)]);
        let used = |listeners: &[Listener]| -> Vec<_> {
            let found = queues(listeners, &ends, u64::from).into_iter();
            found
                .map(|row| (row.address.to_string(), row.used))
                .collect()
        };
        assert_eq!(
            used(&all),
            [("0.0.0.0".to_owned(), 2), ("::".to_owned(), 3)]
        );
        assert_eq!(used(&all[..1]), [("0.0.0.0".to_owned(), 2)]);
    }

    #[test]
    fn sockets_that_share_a_port_have_a_queue_each() {
        let all = [listener("0.0.0.0", 80), listener("0.0.0.0", 80)];
        let end = ("10.0.0.1".parse().expect("address"), 80);
        let found = queues(&all, &BTreeMap::from([(end, 9)]), u64::from);
        assert_eq!((found.len(), found[0].used, found[0].capacity), (1, 9, 16));
    }

    #[test]
    fn without_cookies_a_quarter_is_kept() {
        assert_eq!(capacity(4096, 256, true), 4096);
        assert_eq!(capacity(4096, 256, false), 193);
        assert_eq!(capacity(8, 256, false), 8);
    }
}
