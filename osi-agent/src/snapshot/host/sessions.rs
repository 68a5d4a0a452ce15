//! Established connections by listener and by peer: how many there are, which of them nobody closes, which nobody reads.
//!
//! One walk counts them while it reads. What is followed from pass to pass are two kinds of sockets, by their cookies: those
//! in CLOSE_WAIT, whose age the kernel tells nobody, and those with unread data, which are worth a question only where the
//! same one shows twice. What takes long, many connections or many namespaces, is walked in one of several passes.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::closest::closest;
use super::diag::{self, Protocol, Socket, state};
use super::holders::Sockets;
use super::load::Load;
use super::{Kept, Scratch, sockets};
use crate::host::boot;
use crate::scope::Netns;
use crate::snapshot::{End, Listener, Sessions};

/// Rows that are kept per namespace, the worst first.
const ROWS: usize = 1024;

/// Listeners and peers that are counted per namespace while its sockets are read.
const ENDS: usize = 16_384;

/// Sockets that are followed per namespace, of each kind.
const FOLLOWED: usize = 16_384;

/// Namespaces whose sockets are followed; more are not read.
const NAMESPACES: usize = 4096;

/// Sockets that are asked for in detail.
const ASKED: usize = 32;

/// What the walks of a pass may take together: those beyond it wait for the next one.
const EACH_PASS: Duration = Duration::from_millis(20);

/// Passes after which a namespace that was not walked is one of the past.
const GONE: u64 = 64;

/// From so long on a socket has been in CLOSE_WAIT for long: closing takes an application moments.
const LONG_NS: u64 = 10_000_000_000;

/// The processes behind so many sockets that have been in CLOSE_WAIT for long are looked for.
const MANY: u64 = 20;

const STATES: u32 = 1 << state::ESTABLISHED | 1 << state::CLOSE_WAIT;

/// Since when sockets have been as they are, by cookie.
type Since = HashMap<u64, u64>;

/// What is followed from pass to pass, and when the next walk of each namespace is due.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pass: u64,
    /// What the walks of this pass have taken.
    spent: Duration,
    /// By inode of the namespace.
    namespaces: HashMap<u32, Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The pass that may walk it next.
    next: u64,
    /// What its last walk took.
    took: Duration,
    close_wait: Since,
    unread: Since,
}

impl Followed {
    /// A new pass.
    pub(super) fn begin(&mut self) {
        self.pass += 1;
        self.spent = Duration::ZERO;
        let pass = self.pass;
        self.namespaces.retain(|_, known| known.next + GONE > pass);
    }

    /// What is known of a namespace, where this pass walks it.
    fn due(&mut self, inode: u32) -> Option<&mut Known> {
        let room = self.namespaces.len() < NAMESPACES || self.namespaces.contains_key(&inode);
        if self.spent >= EACH_PASS || !room {
            return None;
        }
        let known = self.namespaces.entry(inode).or_default();
        (known.next <= self.pass).then_some(known)
    }

    /// A walk took so long: the next one comes when all the others have had their time.
    fn walked(&mut self, inode: u32, took: Duration) {
        self.spent += took;
        let Some(known) = self.namespaces.get_mut(&inode) else {
            return;
        };
        known.took = took;
        let all: Duration = self.namespaces.values().map(|known| known.took).sum();
        let pause = (all.as_nanos() / EACH_PASS.as_nanos()) as u64;
        if let Some(known) = self.namespaces.get_mut(&inode) {
            known.next = self.pass + 1 + pause;
        }
    }
}

/// Reads the namespace's connections; `None` in a pass that does without.
pub(super) fn read(netns: &Netns, scratch: &mut Scratch) -> io::Result<Option<Kept<Sessions>>> {
    sockets::check_module()?;
    let Scratch {
        netlink,
        text,
        listening,
        holders,
        followed,
        ..
    } = scratch;
    listening.require()?;
    let began = Instant::now();
    let Some(known) = followed.due(netns.inode) else {
        return Ok(None);
    };
    let load = Load::read(text)?;
    let listeners = Listeners::of(&listening.rows);
    let mut walk = Walk::default();
    for (family, slot) in [libc::AF_INET, libc::AF_INET6].into_iter().zip(0..) {
        if load.open(listening, slot) > 0 {
            walk.append(diag::sockets(
                (family, Protocol::Tcp),
                STATES,
                &[],
                netlink,
                Walk::default,
                |part: &mut Walk, socket| part.add(socket, &listeners),
            )?);
        }
    }
    let now_ns = boot::now_ns();
    let long = walk.long(&mut known.close_wait, now_ns);
    let left = walk.left_unread(&mut known.unread, now_ns);
    let unread_ms = ask(&left, netlink)?;
    let omitted = walk.omitted;
    let mut rows = walk.rows(&long, &unread_ms);
    if let Some(worst) = rows.first_mut() {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let (local, remote, port) = match worst.end {
            End::Listener(address, port) => (address, any, port),
            End::Peer(address, port) => (any, address, port),
        };
        let key = (netns.inode, Some((local, remote, port)));
        let of_worst = || Ok(inodes(&long, worst.end));
        worst.holders = holders.of(key, (worst.long_close_wait, MANY), of_worst)?;
    }
    followed.walked(netns.inode, began.elapsed());
    let mut kept = Kept::new(ROWS);
    kept.rows = rows;
    kept.omitted = omitted;
    Ok(Some(kept))
}

/// Addresses that are listened on, by port.
struct Listeners(HashMap<u16, Vec<IpAddr>>);

impl Listeners {
    fn of(all: &[Listener]) -> Self {
        let mut ports: HashMap<u16, Vec<IpAddr>> = HashMap::new();
        for listener in all {
            ports
                .entry(listener.port)
                .or_default()
                .push(listener.address);
        }
        Self(ports)
    }

    /// The listener that accepted a connection with this local end.
    fn accepted(&self, (address, port): (IpAddr, u16)) -> Option<End> {
        let here = self.0.get(&port)?;
        let listener = closest(here.iter().copied(), address)?;
        Some(End::Listener(listener, port))
    }
}

/// The sockets of a walk.
#[derive(Debug, Default)]
struct Walk {
    ends: HashMap<End, Sum>,
    /// Sockets of ends beyond the bound.
    omitted: u64,
    close_wait: Vec<Seen>,
    unread: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    open: u64,
    close_wait: u64,
    unread: u64,
    unread_bytes: u64,
}

/// A socket that is followed.
#[derive(Clone, Copy, Debug)]
struct Seen {
    end: End,
    cookie: u64,
    inode: u32,
    /// Local and remote port.
    ports: (u16, u16),
}

impl Walk {
    fn add(&mut self, socket: &Socket, listeners: &Listeners) {
        let to_peer = || End::Peer(socket.remote.0, socket.remote.1);
        let end = listeners.accepted(socket.local).unwrap_or_else(to_peer);
        if self.ends.len() >= ENDS && !self.ends.contains_key(&end) {
            self.omitted += 1;
            return;
        }
        let sum = self.ends.entry(end).or_default();
        let waits = socket.state == state::CLOSE_WAIT;
        // The end of the stream counts as a byte until it is read.
        let unread = socket.rqueue > u32::from(waits);
        sum.open += 1;
        sum.close_wait += u64::from(waits);
        sum.unread += u64::from(unread);
        sum.unread_bytes += u64::from(socket.rqueue);
        let seen = Seen {
            end,
            cookie: socket.cookie,
            inode: socket.inode,
            ports: (socket.local.1, socket.remote.1),
        };
        for (is_it, list) in [(waits, &mut self.close_wait), (unread, &mut self.unread)] {
            if is_it && list.len() < FOLLOWED {
                list.push(seen);
            }
        }
    }

    /// Adds the other family's.
    fn append(&mut self, other: Self) {
        let Self {
            ends,
            omitted,
            close_wait,
            unread,
        } = other;
        for (end, more) in ends {
            let sum = self.ends.entry(end).or_default();
            sum.open += more.open;
            sum.close_wait += more.close_wait;
            sum.unread += more.unread;
            sum.unread_bytes += more.unread_bytes;
        }
        self.omitted += omitted;
        self.close_wait.extend(close_wait);
        self.unread.extend(unread);
    }

    /// Sockets that have been in CLOSE_WAIT for long.
    fn long(&self, known: &mut Since, now_ns: u64) -> Vec<Seen> {
        let since = follow(&self.close_wait, known, now_ns);
        let long = since.filter(|(_, since)| now_ns.saturating_sub(*since) >= LONG_NS);
        long.map(|(seen, _)| seen).collect()
    }

    /// Sockets that were unread in an earlier walk already, those for longest first, as many as are asked for.
    fn left_unread(&self, known: &mut Since, now_ns: u64) -> Vec<Seen> {
        let since = follow(&self.unread, known, now_ns);
        let mut left: Vec<_> = since.filter(|(_, since)| *since < now_ns).collect();
        left.sort_by_key(|(_, since)| *since);
        left.truncate(ASKED);
        left.into_iter().map(|(seen, _)| seen).collect()
    }

    /// Rows, worst first.
    fn rows(self, long: &[Seen], unread_ms: &BTreeMap<End, u32>) -> Vec<Sessions> {
        let mut long_by_end: HashMap<End, u64> = HashMap::new();
        for seen in long {
            *long_by_end.entry(seen.end).or_default() += 1;
        }
        let page = rustix::param::page_size() as u64;
        let row = |(end, sum): (End, Sum)| Sessions {
            end,
            open: sum.open,
            close_wait: sum.close_wait,
            long_close_wait: long_by_end.get(&end).copied().unwrap_or(0),
            unread: sum.unread,
            unread_pages: sum.unread_bytes / page,
            unread_ms: unread_ms.get(&end).copied(),
            holders: None,
        };
        let mut rows: Vec<_> = self.ends.into_iter().map(row).collect();
        rows.sort_by_key(|row| {
            let bad = (row.long_close_wait, row.close_wait, row.unread_ms);
            (std::cmp::Reverse((bad, row.unread, row.open)), row.end)
        });
        rows.truncate(ROWS);
        rows
    }
}

/// Each socket with the time since when it has been seen as it is; what was not seen this time is forgotten.
fn follow<'a>(
    seen: &'a [Seen],
    known: &mut Since,
    now_ns: u64,
) -> impl Iterator<Item = (Seen, u64)> + use<'a> {
    let before = std::mem::take(known);
    let since = |seen: &Seen| before.get(&seen.cookie).copied().unwrap_or(now_ns);
    known.extend(seen.iter().map(|seen| (seen.cookie, since(seen))));
    let since: Vec<u64> = seen.iter().map(since).collect();
    seen.iter().copied().zip(since)
}

/// Asks how long ago data last came in on these, and keeps the longest time of each end.
fn ask(left: &[Seen], buffer: &mut Vec<u8>) -> io::Result<BTreeMap<End, u32>> {
    let mut longest = BTreeMap::new();
    if left.is_empty() {
        return Ok(longest);
    }
    let ports: Vec<_> = left.iter().map(|seen| seen.ports).collect();
    let filter = diag::any_of(&ports);
    let asked: HashMap<u64, End> = left.iter().map(|seen| (seen.cookie, seen.end)).collect();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let found = diag::sockets_in_detail(
            family,
            STATES,
            &filter,
            buffer,
            Vec::new,
            |found, socket, info| found.push((socket.cookie, info.since_received_ms)),
        )?;
        for (cookie, ms) in found {
            if let Some(end) = asked.get(&cookie) {
                let most = longest.entry(*end).or_insert(ms);
                *most = ms.max(*most);
            }
        }
    }
    Ok(longest)
}

/// The sockets of one end.
fn inodes(all: &[Seen], end: End) -> Sockets {
    let mut found = Sockets::default();
    for seen in all.iter().filter(|seen| seen.end == end) {
        found.add(seen.inode);
    }
    found
}

#[cfg(test)]
mod tests;
