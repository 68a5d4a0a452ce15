//! How many TCP sockets a namespace has, as `sockstat` counts them.

use std::io;

use super::pools::SHARE;
use super::procfs::{self, keyed};
use super::sockets::Listening;

/// What `sockstat` counts of TCP in a namespace: hashed sockets per family, listeners among them, and TIME_WAIT of both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    in_use: [u64; 2],
    time_wait: u64,
}

impl Load {
    /// Reads both files.
    pub(super) fn read(buffer: &mut String) -> io::Result<Self> {
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
    pub(super) fn open(&self, listening: &Listening, family: usize) -> u64 {
        self.in_use[family].saturating_sub(listening.count[family])
    }
}

/// What is not shown may be there, and no host has more.
fn or_many(count: Option<u64>) -> u64 {
    const MOST: u64 = u32::MAX as u64;
    count.unwrap_or(MOST).min(MOST)
}
