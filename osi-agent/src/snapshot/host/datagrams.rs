//! UDP sockets that dropped datagrams, by `SOCK_DIAG_BY_FAMILY` with `INET_DIAG_SKMEMINFO` (uapi/linux/inet_diag.h).
//!
//! The kernel walks the sockets of all namespaces for one dump, so it is asked only where the namespace's own counters say
//! that datagrams were dropped since it was asked before.

use std::collections::HashMap;
use std::io;

use super::decode::{attribute, u32_at, u64_at};
use super::diag::{self, MESSAGE, Protocol};
use super::{Kept, Scratch};
use crate::scope::Netns;
use crate::snapshot::DatagramSocket;

/// Sockets that are kept per namespace.
const SOCKETS: usize = 1024;

/// Namespaces that are remembered.
const NAMESPACES: usize = 4096;

/// Where its `idiag_cookie` stands.
const COOKIE: usize = 44;

const INET_DIAG_SKMEMINFO: u16 = 7;

/// Places in the array of `INET_DIAG_SKMEMINFO` (uapi/linux/sock_diag.h), four bytes each.
const RMEM_ALLOC: usize = 0;
const RCVBUF: usize = 4;
const DROPS: usize = 32;

/// The module that answers; asking would load it.
const MODULE: &str = "udp_diag";

/// How many datagrams each namespace had lost when its sockets were read.
#[derive(Debug, Default)]
pub(super) struct Known {
    lost: HashMap<Netns, u64>,
}

/// Reads the sockets that dropped datagrams; `None` where none was dropped since they were read before.
pub(super) fn read(
    netns: &Netns,
    scratch: &mut Scratch,
) -> io::Result<Option<Kept<DatagramSocket>>> {
    let Some(lost) = scratch.datagrams_lost else {
        return Err(io::Error::other(
            "the counters of the namespace could not be read",
        ));
    };
    let known = &mut scratch.datagrams.lost;
    if lost == known.get(netns).copied().unwrap_or(0) {
        return Ok(None);
    }
    if known.len() >= NAMESPACES {
        known.clear();
    }
    // Also where they can not be asked: that is said when datagrams are dropped, and not for ever after.
    known.insert(netns.clone(), lost);
    if !diag::is_loaded(MODULE) {
        return Err(io::Error::other(format!(
            "the kernel module {MODULE} is not loaded, and the agent loads none: run `modprobe {MODULE}`"
        )));
    }
    let mut all = Kept::new(SOCKETS);
    for family in [libc::AF_INET, libc::AF_INET6] {
        all.append(sockets(family, &mut scratch.netlink)?);
    }
    Ok(Some(all))
}

fn sockets(family: i32, buffer: &mut Vec<u8>) -> io::Result<Kept<DatagramSocket>> {
    let memory = 1 << (INET_DIAG_SKMEMINFO - 1);
    let body = diag::request((family, Protocol::Udp), u32::MAX, &[], memory);
    let start = || Kept::new(SOCKETS);
    diag::ask(Protocol::Udp, &body, buffer, start, |kept, payload| {
        if let Some(socket) = parse(payload).filter(|socket| socket.drops > 0) {
            kept.push(socket);
        }
    })
}

/// A socket with its memory.
pub(crate) fn parse(payload: &[u8]) -> Option<DatagramSocket> {
    let socket = diag::parse(payload)?;
    let (address, port) = socket.local;
    let memory = attribute(payload.get(MESSAGE..)?, INET_DIAG_SKMEMINFO)?;
    let figure = |offset| u32_at(memory, offset).map(u64::from);
    Some(DatagramSocket {
        cookie: u64_at(payload, COOKIE)?,
        inode: socket.inode,
        address,
        port,
        queued_bytes: figure(RMEM_ALLOC)?,
        buffer_bytes: figure(RCVBUF)?,
        drops: figure(DROPS)?,
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::host::holders::tests::inode;

    #[test]
    fn a_socket_that_nobody_reads_counts_what_it_drops() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("socket");
        let target = receiver.local_addr().expect("address");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("socket");
        for _ in 0..2000 {
            sender.send_to(&[0; 1000], target).expect("datagram");
        }
        let found = sockets(libc::AF_INET, &mut Vec::new()).expect("dump");
        let socket = found
            .rows
            .iter()
            .find(|socket| socket.port == target.port());
        let socket = socket.expect("a socket with drops");
        assert_eq!(socket.address, target.ip());
        assert_eq!(socket.inode, inode(&receiver));
        assert!(socket.cookie != 0 && socket.buffer_bytes > 0, "{socket:?}");
        assert!(
            (1..2000).contains(&socket.drops) && socket.queued_bytes > 100_000,
            "{socket:?}"
        );
    }

    #[test]
    fn a_socket_without_memory_is_none() {
        let mut message = vec![0; MESSAGE];
        message[0] = libc::AF_INET as u8;
        assert_eq!(parse(&message), None);
        message.extend([40, 0, INET_DIAG_SKMEMINFO as u8, 0]);
        message.extend([1; 36]);
        let drops = parse(&message).map(|socket| socket.drops);
        assert_eq!(drops, Some(0x0101_0101));
        assert_eq!(parse(&message[..MESSAGE + 20]), None);
    }
}
