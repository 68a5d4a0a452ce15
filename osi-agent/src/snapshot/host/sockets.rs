//! Listening TCP sockets, and how far the local ports towards each destination are used up.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use super::diag::{self, Socket, state};
use super::ports::{Ports, Range};
use super::procfs::{self, keyed};
use super::{Kept, Scratch};
use crate::snapshot::{Listener, PortPool};

/// Listeners that are kept per namespace.
const LISTENERS: usize = 4096;

/// Destinations that are counted per namespace while its sockets are read.
const TUPLES: usize = 65_536;

/// Pools that are kept per namespace.
const POOLS: usize = 64;

/// A pool is worth a row from this share of its ports on: one in a hundred.
const SHARE: u64 = 100;

/// What the listeners of a namespace tell the reader of its pools.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// Their ports.
    ports: Ports,
    /// How many there are, IPv4 and IPv6.
    count: [u64; 2],
    /// Whether they have been read in this pass.
    known: bool,
}

impl Listening {
    /// Forgets the previous namespace.
    pub(super) fn reset(&mut self) {
        self.ports.clear();
        self.count = [0; 2];
        self.known = false;
    }
}

/// Ports in use.
#[derive(Clone, Debug, Default)]
pub(in crate::snapshot) struct PortUse {
    /// Pools with at least 1 % of their ports in use, worst first.
    pub(super) pools: Vec<PortPool>,
    /// First and last port, and the reserved ones between.
    pub(super) range: Option<(u16, u16, u16)>,
    /// Sockets in SYN_SENT.
    pub(super) syn_sent: u64,
}

/// Reads the sockets in LISTEN: accept queue and backlog, which is full at backlog + 1 (`sk_acceptq_is_full`).
pub(super) fn listeners(scratch: &mut Scratch) -> io::Result<Kept<Listener>> {
    check_module()?;
    let Scratch {
        netlink, listening, ..
    } = scratch;
    listening.reset();
    let mut all = Kept::new(LISTENERS);
    for (family, count) in [libc::AF_INET, libc::AF_INET6].into_iter().zip(0..) {
        let start = || Kept::new(LISTENERS);
        let part = diag::sockets(
            family,
            1 << state::LISTEN,
            &[],
            netlink,
            start,
            |part, socket| {
                listening.ports.insert(socket.local.1);
                part.push(Listener {
                    address: socket.local.0,
                    port: socket.local.1,
                    queued: socket.rqueue,
                    backlog: socket.wqueue,
                    inode: socket.inode,
                    uid: socket.uid,
                });
            },
        )?;
        listening.count[count] = part.rows.len() as u64 + part.omitted;
        all.append(part);
    }
    listening.known = true;
    Ok(all)
}

/// Counts the local ports in use per source, destination and destination port.
///
/// A pool's `used` are the namespace's TCP sockets of that tuple, TIME_WAIT included, whose local port `connect()` may
/// choose: what `ss -tan` lists for it. Left out are sockets whose local port is a listener's: that is the accepting side,
/// which takes no port of its own. `__inet_hash_connect()` passes over every port that `bind()` holds, whatever the
/// destination, so ports of listeners and of sockets bound and idle are subtracted from `usable`. The latter are visible
/// from 6.8 on; before, and where more destinations than fit were seen, the pool is a lower bound.
///
/// TIME_WAIT counts as used although `tcp_tw_reuse` lets a new connection take such a port after one second (with
/// timestamps, and by default only over loopback): the conservative reading, and `time_wait` says how much of it there is.
///
/// The kernel walks the sockets of all namespaces for one dump, so it is asked only where `sockstat` shows that there is
/// something to count.
pub(super) fn ports(scratch: &mut Scratch) -> io::Result<PortUse> {
    check_module()?;
    let Scratch {
        netlink,
        text,
        listening,
        ..
    } = scratch;
    if !listening.known {
        return Err(io::Error::other(
            "the listeners of the namespace could not be read",
        ));
    }
    let range = Range::read(text)?;
    let mut usable = range.usable(&listening.ports);
    let load = Load::read(text)?;
    let fillable = usable;
    let may_fill = |family| load.may_fill(family, listening, fillable);

    let filter = diag::active_side(range.first, range.last);
    let mut tuples = Tuples::default();
    let mut held = None;
    for (family, slot) in [libc::AF_INET, libc::AF_INET6].into_iter().zip(0..) {
        let mut states = if load.open(listening, slot) > 0 || may_fill(slot) {
            diag::CONNECTED
        } else {
            continue;
        };
        if may_fill(slot) && shows_bound() {
            states |= 1 << state::BOUND_INACTIVE;
        }
        let start = || (Tuples::default(), Ports::default());
        let (part, bound) = diag::sockets(
            family,
            states,
            &filter,
            netlink,
            start,
            |(part, bound), socket| match socket.state {
                state::CLOSE | state::BOUND_INACTIVE => bound.insert(socket.local.1),
                _ => part.add(socket, &range, &listening.ports),
            },
        )?;
        tuples.append(part);
        held.get_or_insert_with(|| listening.ports.clone())
            .extend(&bound);
    }
    if let Some(held) = held {
        usable = range.usable(&held);
    }
    let syn_sent = tuples.syn_sent;
    let lower_bound = tuples.omitted > 0 || !shows_bound();
    Ok(PortUse {
        pools: tuples.pools(usable, lower_bound),
        range: Some((range.first, range.last, range.reserved())),
        syn_sent,
    })
}

fn check_module() -> io::Result<()> {
    if diag::is_loaded() {
        return Ok(());
    }
    Err(io::Error::other(
        "the kernel module tcp_diag is not loaded, and the agent loads none: run `modprobe tcp_diag`",
    ))
}

/// Whether the kernel shows sockets that are bound and neither listen nor connect: 6.8 on.
fn shows_bound() -> bool {
    let uname = rustix::system::uname();
    release_at_least(&uname.release().to_string_lossy(), (6, 8))
}

pub(crate) fn release_at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= wanted,
        _ => false,
    }
}

/// What `sockstat` counts of TCP in a namespace: hashed sockets per family, listeners among them, and TIME_WAIT of both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    in_use: [u64; 2],
    time_wait: u64,
}

impl Load {
    fn read(buffer: &mut String) -> io::Result<Self> {
        let mut load = Self::parse(procfs::net("sockstat", buffer)?);
        match procfs::net("sockstat6", buffer) {
            Ok(v6) => load.add_v6(v6),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(load)
    }

    /// What `sockstat` says: IPv4, and TIME_WAIT of both.
    pub(crate) fn parse(sockstat: &str) -> Self {
        Self {
            in_use: [or_many(keyed(sockstat, "TCP", "inuse")), 0],
            time_wait: or_many(keyed(sockstat, "TCP", "tw")),
        }
    }

    /// What `sockstat6` says, where there is IPv6.
    pub(crate) fn add_v6(&mut self, sockstat6: &str) {
        self.in_use[1] = or_many(keyed(sockstat6, "TCP6", "inuse"));
    }

    /// Whether the sockets of a family may be worth a row.
    pub(crate) fn may_fill(&self, family: usize, listening: &Listening, usable: u64) -> bool {
        (self.open(listening, family) + self.time_wait) * SHARE >= usable.max(1)
    }

    /// Sockets of a family that do not listen.
    fn open(&self, listening: &Listening, family: usize) -> u64 {
        self.in_use[family].saturating_sub(listening.count[family])
    }
}

/// What is not shown may be there, and no host has more.
fn or_many(count: Option<u64>) -> u64 {
    const MOST: u64 = u32::MAX as u64;
    count.unwrap_or(MOST).min(MOST)
}

/// Sockets per tuple.
#[derive(Debug, Default)]
struct Tuples {
    counts: HashMap<(IpAddr, IpAddr, u16), Count>,
    syn_sent: u64,
    omitted: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    used: u64,
    time_wait: u64,
}

impl Tuples {
    fn add(&mut self, socket: &Socket, range: &Range, listening: &Ports) {
        self.syn_sent += u64::from(socket.state == state::SYN_SENT);
        if listening.contains(socket.local.1) || !range.contains(socket.local.1) {
            return;
        }
        let tuple = (socket.local.0, socket.remote.0, socket.remote.1);
        if self.counts.len() >= TUPLES && !self.counts.contains_key(&tuple) {
            self.omitted += 1;
            return;
        }
        let count = self.counts.entry(tuple).or_default();
        count.used += 1;
        count.time_wait += u64::from(socket.state == state::TIME_WAIT);
    }

    /// Adds the other family's: IPv4 sockets of both kinds share tuples.
    fn append(&mut self, other: Self) {
        let Self {
            counts,
            syn_sent,
            omitted,
        } = other;
        for (tuple, count) in counts {
            let sum = self.counts.entry(tuple).or_default();
            sum.used += count.used;
            sum.time_wait += count.time_wait;
        }
        self.syn_sent += syn_sent;
        self.omitted += omitted;
    }

    fn pools(self, usable: u64, lower_bound: bool) -> Vec<PortPool> {
        let mut pools: Vec<_> = self
            .counts
            .into_iter()
            .filter(|(_, count)| count.used * SHARE >= usable.max(1))
            .map(
                |((local, remote, port), Count { used, time_wait })| PortPool {
                    local,
                    remote,
                    port,
                    used,
                    time_wait,
                    usable,
                    lower_bound,
                },
            )
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
            rqueue: 0,
            wqueue: 0,
            uid: 0,
            inode: 1,
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
            tuples.add(&socket, &range, &listening);
        }
        assert_eq!(tuples.syn_sent, 1);
        let pools = tuples.pools(range.usable(&listening), false);
        let shown: Vec<_> = pools
            .iter()
            .map(|pool| (pool.port, pool.used, pool.time_wait, pool.usable))
            .collect();
        assert_eq!(shown, [(80, 3, 1, 99), (81, 1, 0, 99)]);
    }

    #[test]
    fn pools_below_one_percent_are_left_out_and_the_worst_come_first() {
        let mut tuples = Tuples::default();
        for port in 1..=200u16 {
            let tuple = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), port);
            tuples.counts.insert(
                tuple,
                Count {
                    used: port.into(),
                    time_wait: 0,
                },
            );
        }
        let pools = tuples.pools(15_000, true);
        let used: Vec<_> = pools.iter().map(|pool| pool.used).collect();
        assert_eq!((used.len(), used[0], used[50]), (51, 200, 150));
        assert!(pools.iter().all(|pool| pool.lower_bound));
    }

    #[test]
    fn releases_compare_by_number() {
        for (release, newer) in [
            ("6.8.0-31-generic", true),
            ("6.18.44", true),
            ("5.10.0", false),
            ("7.0", true),
            ("x", false),
        ] {
            assert_eq!(release_at_least(release, (6, 8)), newer, "{release}");
        }
    }
}
