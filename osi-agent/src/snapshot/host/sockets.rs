//! Listening TCP sockets, and how far the local ports towards each destination are used up.

use std::io;

use super::accepted;
use super::diag::{self, Protocol, state};
use super::holders::Sockets;
use super::load::Load;
use super::pools::{Tuple, Tuples, tuple};
use super::ports::{Ports, Range, Reuse};
use super::{Kept, Scratch};
use crate::scope::Netns;
use crate::snapshot::{Listener, PortPool, Stalled};

/// Listeners that are kept per namespace.
const LISTENERS: usize = 4096;

/// What the listeners of a namespace tell the reader of its pools.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// Their ports.
    ports: Ports,
    /// How many there are, IPv4 and IPv6.
    pub(super) count: [u64; 2],
    /// Those that were kept.
    pub(super) rows: Vec<Listener>,
    /// Whether they have been read in this pass.
    known: bool,
}

impl Listening {
    /// An error where they could not be read: what belongs to which of them is not known then.
    pub(super) fn require(&self) -> io::Result<()> {
        if self.known {
            return Ok(());
        }
        Err(io::Error::other(
            "the listeners of the namespace could not be read",
        ))
    }

    /// Forgets the previous namespace.
    pub(super) fn reset(&mut self) {
        self.ports.clear();
        self.count = [0; 2];
        self.rows.clear();
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
    /// Peers that do not read.
    pub(super) stalled: Vec<Stalled>,
}

/// Reads the sockets in LISTEN: accept queue and backlog, which is full at backlog + 1 (`sk_acceptq_is_full`).
pub(super) fn listeners(scratch: &mut Scratch) -> io::Result<Kept<Listener>> {
    check_module()?;
    let Scratch {
        netlink,
        listening,
        served,
        accepted,
        ..
    } = scratch;
    listening.reset();
    let mut all = Kept::new(LISTENERS);
    for (family, count) in [libc::AF_INET, libc::AF_INET6].into_iter().zip(0..) {
        let start = || Kept::new(LISTENERS);
        let part = diag::sockets(
            (family, Protocol::Tcp),
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
    listening.rows.clone_from(&all.rows);
    accepted.append(&mut self::accepted::read(&all.rows, served, netlink));
    Ok(all)
}

/// Counts the local ports in use per source, destination and destination port.
///
/// A pool's `used` are the namespace's TCP sockets of that tuple whose local port `connect()` may choose: what `ss -tan` lists
/// for it, TIME_WAIT included but for what a new connection may take over ([`Reuse`]). Left out are sockets whose local port is a listener's: that is the accepting side,
/// which takes no port of its own. `__inet_hash_connect()` passes over every port that `bind()` holds, whatever the
/// destination, so ports of listeners and of sockets bound and idle are subtracted from `usable`. The latter are visible
/// from 6.8 on; before, and where more destinations than fit were seen, the pool is a lower bound.
///
/// A socket may have a narrower range of its own (`IP_LOCAL_PORT_RANGE`, 6.3 on), which the kernel shows nobody: it may be
/// refused while the pool of its destination shows room, and only the refusal itself tells.
///
/// The kernel walks the sockets of all namespaces for one dump, so it is asked only where `sockstat` shows that a pool may be
/// worth a row, or a counter that a peer's window is closed.
pub(super) fn ports(netns: &Netns, scratch: &mut Scratch) -> io::Result<PortUse> {
    check_module()?;
    let Scratch {
        netlink,
        text,
        listening,
        holders,
        windows_closed,
        ..
    } = scratch;
    let is_closed = windows_closed.is_due(netns.inode);
    listening.require()?;
    let range = Range::read(text)?;
    let reuse = Reuse::read(text)?;
    let mut usable = range.usable(&listening.ports);
    let load = Load::read(text)?;
    let fillable = usable;
    let may_fill = |family| load.may_fill(family, listening, fillable);

    let filter = diag::active_side(range.first, range.last);
    let mut tuples = Tuples::default();
    let mut held = None;
    for (family, slot) in [libc::AF_INET, libc::AF_INET6].into_iter().zip(0..) {
        let mut states = if is_closed && load.open(listening, slot) > 0 || may_fill(slot) {
            diag::CONNECTED
        } else {
            continue;
        };
        if may_fill(slot) && shows_bound() {
            states |= 1 << state::BOUND_INACTIVE;
        }
        let start = || (Tuples::default(), Ports::default());
        let (part, bound) = diag::sockets(
            (family, Protocol::Tcp),
            states,
            &filter,
            netlink,
            start,
            |(part, bound), socket| match socket.state {
                state::CLOSE | state::BOUND_INACTIVE => bound.insert(socket.local.1),
                _ => part.add(socket, &range, &listening.ports, reuse),
            },
        )?;
        tuples.append(part);
        held.get_or_insert_with(|| listening.ports.clone())
            .extend(&bound);
    }
    if let Some(held) = held {
        usable = range.usable(&held);
    }
    let probing = std::mem::take(&mut tuples.probing);
    if !probing.is_empty() {
        // Probes become rare while a window stays closed.
        windows_closed.look_again(netns.inode);
    }
    let stalled = probing.stalled(netlink, |peers| tuples.open(peers))?;
    let lower_bound = tuples.omitted > 0 || !shows_bound();
    let mut pools = tuples.pools(usable, lower_bound);
    if let Some(worst) = pools.first_mut() {
        let tuple = (worst.local, worst.remote, worst.port);
        let sockets = || members(tuple, &filter, (&range, reuse), netlink);
        let pool = (netns.inode, Some(tuple));
        worst.holders = holders.of(pool, (worst.used, worst.usable), sockets)?;
    }
    Ok(PortUse {
        pools,
        range: Some((range.first, range.last, range.reserved())),
        stalled,
    })
}

/// The sockets of one pool, by a second walk: to keep them all while they are counted would take more memory than it saves time.
fn members(
    wanted: Tuple,
    filter: &[u8],
    (range, reuse): (&Range, Reuse),
    netlink: &mut Vec<u8>,
) -> io::Result<Sockets> {
    let mut all = Sockets::default();
    let families: &[i32] = if wanted.1.is_ipv4() {
        &[libc::AF_INET, libc::AF_INET6]
    } else {
        &[libc::AF_INET6]
    };
    for family in families {
        let found = diag::sockets(
            (*family, Protocol::Tcp),
            diag::CONNECTED,
            filter,
            netlink,
            Vec::new,
            |found, socket| {
                let used = range.contains(socket.local.1) && !reuse.allows(socket);
                if used && tuple(socket) == wanted {
                    found.push(socket.inode);
                }
            },
        )?;
        for inode in found {
            all.add(inode);
        }
    }
    Ok(all)
}

pub(super) fn check_module() -> io::Result<()> {
    if diag::is_loaded("tcp_diag") {
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

#[cfg(test)]
mod tests {
    use super::*;

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
