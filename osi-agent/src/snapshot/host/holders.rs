//! Which processes hold the ports of the few pools that are nearly used up.
//!
//! A walk through the descriptors of all processes is made once in some windows at most, for one pool.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::host::holders::{Bounds, Held, walk};
use crate::snapshot::SocketHolders;

/// A search is made once in so many passes.
const PASSES: u64 = 5;

/// A pool is worth one from this share of its ports on, in percent.
const SHARE: u64 = 80;

/// What one search may take: it is part of a pass that others wait for. A proxy may hold all ports by itself.
const BOUNDS: Bounds = Bounds {
    longest: Duration::from_millis(150),
    of_process: usize::MAX,
    of_all: 262_144,
};

/// Sockets whose holders are looked for.
const SOCKETS: usize = 65_536;

/// Pools whose holders are remembered.
const POOLS: usize = 64;

/// A pool: inode of its namespace, and for TCP source, destination and destination port.
pub(super) type Pool = (u32, Option<(IpAddr, IpAddr, u16)>);

/// The sockets of a pool.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Their inodes.
    inodes: HashSet<u32>,
    /// Sockets without: closed, and held by the kernel alone.
    nobody: u64,
    /// Sockets beyond the bound.
    omitted: u64,
}

impl Sockets {
    /// Adds a socket.
    pub(super) fn add(&mut self, inode: u32) {
        if inode == 0 {
            self.nobody += 1;
        } else if self.inodes.len() < SOCKETS {
            self.inodes.insert(inode);
        } else {
            self.omitted += 1;
        }
    }
}

/// What was found, and when the next search is due.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    pass: u64,
    next: u64,
    known: BTreeMap<Pool, Known>,
}

/// What is known of a pool.
#[derive(Debug, Default)]
struct Known {
    /// The pass that asked last.
    asked: u64,
    found: Option<SocketHolders>,
}

impl Lookups {
    /// A new pass: pools that nobody asked for in the last one are forgotten.
    pub(super) fn begin(&mut self) {
        let last = self.pass;
        self.known.retain(|_, known| known.asked == last);
        self.pass += 1;
    }

    /// The holders of a pool that has so many of its ports in use, as of the last search; `sockets` tells its sockets when
    /// a new one is due.
    pub(super) fn of(
        &mut self,
        pool: Pool,
        (used, usable): (u64, u64),
        sockets: impl FnOnce() -> io::Result<Sockets>,
    ) -> io::Result<Option<SocketHolders>> {
        let known = self.known.contains_key(&pool);
        if used * 100 < usable * SHARE || !known && self.known.len() >= POOLS {
            return Ok(None);
        }
        let pass = self.pass;
        let row = self.known.entry(pool).or_default();
        row.asked = pass;
        let (unknown, found) = (row.found.is_none(), row.found.clone());
        // One that nothing is known of goes before those that are looked at again.
        let waits = self.known.values().any(|row| row.found.is_none());
        if pass < self.next || !unknown && waits {
            return Ok(found);
        }
        self.next = pass + PASSES;
        let found = search(sockets()?);
        if let Some(row) = self.known.get_mut(&pool) {
            row.found = Some(found.clone());
        }
        Ok(Some(found))
    }
}

/// Looks through the descriptors of all processes.
fn search(sockets: Sockets) -> SocketHolders {
    let Sockets {
        inodes,
        nobody,
        omitted,
    } = sockets;
    let asked = inodes.len() as u64;
    let found = walk(&[inodes], &BOUNDS);
    let held: Held = found.held.into_iter().next().unwrap_or_default();
    SocketHolders {
        processes: held.holders,
        nobody,
        unknown: asked.saturating_sub(held.sockets) + omitted,
        unsearched: found.unread.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::holders::tests::{inode, listener};

    #[test]
    fn this_process_holds_its_sockets() {
        let listeners = [(); 3].map(|()| listener());
        let mut sockets = Sockets::default();
        for inode in listeners.each_ref().map(inode) {
            sockets.add(inode);
        }
        sockets.add(0);
        sockets.add(u32::MAX);
        let found = search(sockets);
        let this = std::process::id();
        assert!(
            found
                .processes
                .iter()
                .any(|holder| holder.process.pid == this && holder.sockets == 3),
            "{found:?}"
        );
        assert_eq!((found.nobody, found.unknown), (1, 1));
    }

    #[test]
    fn it_is_searched_once_in_five_passes_and_only_where_ports_are_short() {
        let mut lookups = Lookups::default();
        let pool = (7, None);
        let mut searches = Vec::new();
        for pass in 1..=12 {
            lookups.begin();
            let sockets = || {
                searches.push(pass);
                Ok(Sockets::default())
            };
            let used = if pass == 1 { 79 } else { 80 };
            let found = lookups.of(pool, (used, 100), sockets).expect("no error");
            assert_eq!(found.is_some(), pass > 1);
        }
        assert_eq!(searches, [2, 7, 12]);
    }

    #[test]
    fn a_pool_that_nothing_is_known_of_goes_first() {
        let mut lookups = Lookups::default();
        let mut searches = Vec::new();
        for pass in 1..=16 {
            lookups.begin();
            for pool in [(7, None), (8, None)] {
                let sockets = || {
                    searches.push((pass, pool.0));
                    Ok(Sockets::default())
                };
                lookups.of(pool, (9, 10), sockets).expect("no error");
            }
        }
        assert_eq!(searches[..2], [(1, 7), (6, 8)]);
        assert_eq!(searches.len(), 4);
    }
}
