//! TCP sockets as `sock_diag` tells them: who listens, and which local ports are taken.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

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
    /// Ports of the range that can be used at all: neither reserved nor held by `bind()`.
    pub usable: u64,
    /// The pool may be fuller than shown: the kernel hides sockets that are bound and idle (before 6.8), or there were too
    /// many destinations to count them all.
    pub lower_bound: bool,
}
