//! Sockets as `sock_diag` tells them: who listens, which local ports are taken and by whom, and who loses datagrams.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::host::holders::SocketHolder;

/// A listening TCP socket (`SOCK_DIAG`, state LISTEN).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// Local address.
    pub address: IpAddr,
    /// Local port.
    pub port: u16,
    /// Connections waiting for `accept()` (`idiag_rqueue`).
    pub queued: u32,
    /// Backlog: the queue is full at backlog + 1 (`idiag_wqueue`).
    pub backlog: u32,
    /// Inode of the socket.
    pub inode: u32,
    /// User that owns it.
    pub uid: u32,
}

/// `tcp_syncookies` where every SYN is answered by a cookie, so that no queue fills.
pub const ALWAYS_COOKIES: u8 = 2;

/// Handshakes that a listener has answered and that are not finished (`SOCK_DIAG`, state NEW_SYN_RECV).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SynQueue {
    /// Local address of the listener.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Unfinished handshakes.
    pub used: u64,
    /// At so many the next SYN is dropped, or answered by a cookie.
    pub capacity: u64,
}

/// Local ports in use from one source address to one destination.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortPool {
    /// Source address.
    pub local: IpAddr,
    /// Destination address.
    pub remote: IpAddr,
    /// Destination port.
    pub port: u16,
    /// Ports of the range that the kernel would refuse for this tuple.
    pub used: u64,
    /// Of these, held by TIME_WAIT.
    pub time_wait: u64,
    /// Ports in TIME_WAIT that a new connection may take, and that are therefore not among those used.
    pub reusable: u64,
    /// Ports of the range that can be used at all: neither reserved nor held by `bind()`.
    pub usable: u64,
    /// The pool may be fuller than shown: the kernel hides sockets that are bound and idle (before 6.8), or there were too
    /// many destinations to count them all.
    pub lower_bound: bool,
    /// Who holds them, where they are nearly used up.
    pub holders: Option<SocketHolders>,
}

/// Local UDP ports in use in a namespace. One pool is enough: a socket that the kernel chooses a port for, because it sends or
/// connects without one, is bound to no address yet, and a port that anybody holds at any address is refused to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UdpPorts {
    /// Different ports of the range that sockets hold.
    pub used: u64,
    /// Ports of the range without reserved ones.
    pub usable: u64,
    /// The source address that most of these sockets have, and how many.
    pub most: Option<(IpAddr, u64)>,
    /// Who holds them, where they are nearly used up.
    pub holders: Option<SocketHolders>,
}

/// The processes that hold some sockets, as of a search some windows ago at most.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SocketHolders {
    /// Those that hold most, most first.
    pub processes: Vec<SocketHolder>,
    /// Sockets that are nobody's: closed, in TIME_WAIT.
    pub nobody: u64,
    /// Sockets whose holder was not found.
    pub unknown: u64,
    /// Processes that were not searched, or not to the end: it took too long, or is not permitted.
    pub unsearched: u64,
}

/// A UDP socket that dropped datagrams (`SOCK_DIAG`, `INET_DIAG_SKMEMINFO`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatagramSocket {
    /// Cookie of the socket, never reused.
    pub cookie: u64,
    /// Inode of the socket.
    pub inode: u32,
    /// Local address.
    pub address: IpAddr,
    /// Local port.
    pub port: u16,
    /// Memory of the datagrams that wait, in bytes (`SK_MEMINFO_RMEM_ALLOC`).
    pub queued_bytes: u64,
    /// At so many bytes a further one is dropped (`SK_MEMINFO_RCVBUF`).
    pub buffer_bytes: u64,
    /// Datagrams that it dropped since it was made (`SK_MEMINFO_DROPS`).
    pub drops: u64,
}

/// Connections of this host to one peer that have waited for a second or longer because its receive window is closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stalled {
    /// Destination address.
    pub remote: IpAddr,
    /// Destination port.
    pub port: u16,
    /// How many of them wait.
    pub connections: u64,
    /// Connections of this host to it, those that wait among them.
    pub open: u64,
    /// Time since the longest waiting one sent data.
    pub longest_ms: u32,
    /// Bytes that wait to be sent.
    pub waiting_bytes: u64,
}
