//! Connections of this host that wait because their peer's receive window is closed.
//!
//! The kernel lets a timer run (`persist` in `ss -o`) while data waits, none is on its way, and the peer takes none. The walk that
//! counts local ports shows that timer, so who waits costs nothing; only then are those connections asked for in detail.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;

use super::diag::{self, PERSIST, Socket, TcpInfo};
use crate::snapshot::{Mib, Stalled};

/// What moves while a peer's window is closed.
pub(super) const MOVES: &[Mib] = &[Mib::TcpWinProbe];

/// Waiting connections that are asked for in detail.
const WAITING: usize = 1024;

/// Peers that are kept per namespace.
const PEERS: usize = 64;

/// A pause is worth a row from this time on: shorter ones are how TCP keeps a fast sender in step.
const PAUSE_MS: u32 = 1000;

/// Probes without an answer from which on the peer is gone rather than busy.
const UNANSWERED: u8 = 2;

/// Ports of the connections whose window is being probed.
#[derive(Debug, Default)]
pub(super) struct Probing(HashSet<(u16, u16)>);

impl Probing {
    /// Takes a connection of this host into account.
    pub(super) fn add(&mut self, socket: &Socket) {
        if socket.timer == PERSIST && self.0.len() < WAITING {
            self.0.insert((socket.local.1, socket.remote.1));
        }
    }

    /// Adds those of the other family.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks for them in detail; `open` fills in how many connections this host has to each peer.
    pub(super) fn stalled(
        self,
        buffer: &mut Vec<u8>,
        open: impl FnOnce(&mut [Stalled]),
    ) -> io::Result<Vec<Stalled>> {
        let Some((local, remote)) = self.ports() else {
            return Ok(Vec::new());
        };
        let filter = diag::between(local, remote);
        let mut peers = Peers::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let found = diag::sockets_in_detail(
                family,
                diag::CONNECTED,
                &filter,
                buffer,
                Peers::new,
                |found, socket, info| {
                    if self.0.contains(&(socket.local.1, socket.remote.1)) {
                        note(found, socket, info);
                    }
                },
            )?;
            for (peer, more) in found {
                let sum = peers.entry(peer).or_default();
                sum.connections += more.connections;
                sum.longest_ms = sum.longest_ms.max(more.longest_ms);
                sum.waiting_bytes += more.waiting_bytes;
            }
        }
        Ok(rows(peers, open))
    }

    /// The least ranges of local and remote ports that hold them all.
    fn ports(&self) -> Option<((u16, u16), (u16, u16))> {
        let range = |of: fn(&(u16, u16)) -> u16| {
            let ports = self.0.iter().map(of);
            Some((ports.clone().min()?, ports.max()?))
        };
        Some((range(|ports| ports.0)?, range(|ports| ports.1)?))
    }
}

type Peers = BTreeMap<(IpAddr, u16), Sum>;

#[derive(Debug, Default)]
struct Sum {
    connections: u64,
    longest_ms: u32,
    waiting_bytes: u64,
}

/// The timer also runs while this host itself is short of memory or its queue refuses: then the window is open.
fn note(peers: &mut Peers, socket: &Socket, info: &TcpInfo) {
    let closed = info.window.is_none_or(|window| window < info.mss.max(1));
    let waits = socket.timer == PERSIST && info.since_data_ms >= PAUSE_MS;
    if !closed || !waits || info.probes >= UNANSWERED {
        return;
    }
    let sum = peers.entry(socket.remote).or_default();
    sum.connections += 1;
    sum.longest_ms = sum.longest_ms.max(info.since_data_ms);
    sum.waiting_bytes += u64::from(socket.wqueue);
}

/// The worst peers.
fn rows(peers: Peers, open: impl FnOnce(&mut [Stalled])) -> Vec<Stalled> {
    let mut rows: Vec<_> = peers
        .into_iter()
        .map(|((remote, port), sum)| Stalled {
            remote,
            port,
            connections: sum.connections,
            open: 0,
            longest_ms: sum.longest_ms,
            waiting_bytes: sum.waiting_bytes,
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.connections, row.longest_ms)));
    rows.truncate(PEERS);
    open(&mut rows);
    for row in &mut rows {
        row.open = row.open.max(row.connections);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(remote: &str, since_data_ms: u32, window: Option<u32>, probes: u8) -> Vec<Stalled> {
        let end = |text: &str| {
            let address: std::net::SocketAddr = text.parse().expect("address");
            (address.ip(), address.port())
        };
        let socket = Socket {
            expires_ms: 0,
            state: 1,
            timer: PERSIST,
            local: end("10.0.0.1:40000"),
            remote: end(remote),
            rqueue: 0,
            wqueue: 5000,
            uid: 0,
            inode: 1,
            cookie: 0,
        };
        let info = TcpInfo {
            probes,
            mss: 1448,
            since_data_ms,
            since_received_ms: 0,
            window,
        };
        let mut peers = Peers::new();
        note(&mut peers, &socket, &info);
        note(&mut peers, &socket, &info);
        rows(peers, |rows| rows.iter_mut().for_each(|row| row.open = 7))
    }

    #[test]
    fn who_waits_in_front_of_a_closed_window_is_counted_by_peer() {
        let rows = waiting("10.0.0.2:80", 1000, Some(0), 1);
        let [row] = &rows[..] else {
            panic!("{rows:?}");
        };
        assert_eq!(
            (row.remote.to_string().as_str(), row.port),
            ("10.0.0.2", 80)
        );
        assert_eq!((row.connections, row.open), (2, 7));
        assert_eq!((row.longest_ms, row.waiting_bytes), (1000, 10_000));
        // Not told before 5.5.
        assert_eq!(waiting("10.0.0.2:80", 1000, None, 0).len(), 1);
    }

    #[test]
    fn short_pauses_open_windows_and_dead_peers_are_none() {
        assert!(waiting("10.0.0.2:80", 999, Some(0), 0).is_empty());
        assert!(waiting("10.0.0.2:80", 5000, Some(1448), 0).is_empty());
        assert!(waiting("10.0.0.2:80", 5000, Some(0), 2).is_empty());
        assert_eq!(waiting("10.0.0.2:80", 5000, Some(1447), 0).len(), 1);
    }

    #[test]
    fn the_ports_of_all_are_asked_for() {
        assert_eq!(Probing::default().ports(), None);
        let probing = Probing(HashSet::from([(40_000, 443), (41_000, 80), (40_500, 8080)]));
        assert_eq!(probing.ports(), Some(((40_000, 41_000), (80, 8080))));
    }
}
