//! Local UDP ports in use.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use super::Scratch;
use super::diag::{self, Protocol, Socket};
use super::holders::Sockets;
use super::pools::SHARE;
use super::ports::{Ports, Range};
use super::procfs::{self, keyed};
use crate::scope::Netns;
use crate::snapshot::UdpPorts;

/// Source addresses that are counted while sockets are read.
const ADDRESSES: usize = 1024;

/// Sockets of a family that are kept: as many as there are ports.
const SOCKETS: usize = 65_536;

/// The states that UDP sockets are shown in: connected is ESTABLISHED, all others are CLOSE.
const ALL: u32 = 1 << 1 | 1 << diag::state::CLOSE;

/// Counts the local ports in use, where `sockstat` counts so many sockets that they may be 1 % of the range.
///
/// IPv6 sockets count for IPv4, too: the kernel compares a socket without an address with both, but for those that are IPv6's
/// alone (`IPV6_V6ONLY`), which hardly anybody has by the thousand.
pub(super) fn ports(netns: &Netns, scratch: &mut Scratch) -> io::Result<Option<UdpPorts>> {
    let Scratch {
        netlink,
        text,
        holders,
        ..
    } = scratch;
    let range = Range::read(text)?;
    let usable = range.usable(&Ports::default());
    let mut in_use = [0; 2];
    in_use[0] = keyed(procfs::net("sockstat", text)?, "UDP", "inuse").unwrap_or(u64::MAX / SHARE);
    match procfs::net("sockstat6", text) {
        Ok(v6) => in_use[1] = keyed(v6, "UDP6", "inuse").unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if in_use[0].saturating_add(in_use[1]).saturating_mul(SHARE) < usable.max(1) {
        return Ok(None);
    }
    if !diag::is_loaded("udp_diag") {
        return Err(io::Error::other(
            "the kernel module udp_diag is not loaded, and the agent loads none: run `modprobe udp_diag`",
        ));
    }
    let mut found = Found::default();
    for (family, in_use) in [libc::AF_INET, libc::AF_INET6].into_iter().zip(in_use) {
        if in_use > 0 {
            let part = diag::sockets(
                (family, Protocol::Udp),
                ALL,
                &[],
                netlink,
                Found::default,
                |part, socket| part.add(socket, &range),
            )?;
            found.append(part);
        }
    }
    let used = usable - range.usable(&found.ports);
    let most = found.addresses.into_iter();
    let most = most.max_by_key(|(address, count)| (*count, std::cmp::Reverse(*address)));
    let sockets = || {
        let mut all = Sockets::default();
        for inode in &found.inodes {
            all.add(*inode);
        }
        Ok(all)
    };
    Ok(Some(UdpPorts {
        used,
        usable,
        most,
        holders: holders.of((netns.inode, None), (used, usable), sockets)?,
    }))
}

/// Sockets whose port is one of the range.
#[derive(Debug, Default)]
struct Found {
    ports: Ports,
    addresses: HashMap<IpAddr, u64>,
    /// No more than there are ports, but for those that share one.
    inodes: Vec<u32>,
}

impl Found {
    fn add(&mut self, socket: &Socket, range: &Range) {
        let (address, port) = socket.local;
        if !range.contains(port) {
            return;
        }
        self.ports.insert(port);
        if self.inodes.len() < SOCKETS {
            self.inodes.push(socket.inode);
        }
        if self.addresses.len() < ADDRESSES || self.addresses.contains_key(&address) {
            *self.addresses.entry(address).or_default() += 1;
        }
    }

    fn append(&mut self, other: Self) {
        let Self {
            ports,
            addresses,
            inodes,
        } = other;
        self.ports.extend(&ports);
        self.inodes.extend(inodes);
        for (address, count) in addresses {
            *self.addresses.entry(address).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_counts_once_whatever_its_addresses() {
        let range = Range::of(1000, 1099);
        let mut found = Found::default();
        for (address, port) in [
            ([10, 0, 0, 1], 1000),
            ([10, 0, 0, 2], 1000),
            ([10, 0, 0, 2], 1001),
            ([0, 0, 0, 0], 999),
        ] {
            let socket = Socket {
                timer: 0,
                state: diag::state::CLOSE,
                local: (address.into(), port),
                remote: ([0; 4].into(), 0),
                expires_ms: 0,
                rqueue: 0,
                wqueue: 0,
                uid: 0,
                inode: 1,
                cookie: 0,
            };
            found.add(&socket, &range);
        }
        assert_eq!(range.usable(&found.ports), 98);
        assert_eq!(found.addresses[&IpAddr::from([10, 0, 0, 2])], 2);
    }

    #[test]
    fn a_socket_of_this_process_is_shown() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        let port = socket.local_addr().expect("address").port();
        let found = diag::sockets(
            (libc::AF_INET, Protocol::Udp),
            ALL,
            &[],
            &mut Vec::new(),
            Found::default,
            |found, socket| found.add(socket, &Range::of(port, port)),
        );
        let found = found.expect("dump");
        assert!(found.ports.contains(port) && found.inodes.iter().all(|inode| *inode > 0));
    }
}
