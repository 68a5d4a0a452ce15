//! Established connections, counted by the listener that accepted them or by the peer that they go to.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::SocketHolders;

/// What connections have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    /// The listener that they were accepted from: local address and port.
    Listener(IpAddr, u16),
    /// The peer that this host made them to: its address and port.
    Peer(IpAddr, u16),
}

/// The established connections of one end (`SOCK_DIAG`, ESTABLISHED and CLOSE_WAIT).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sessions {
    /// Which.
    pub end: End,
    /// How many there are, those that wait to be accepted among them.
    pub open: u64,
    /// Of these, closed by the other end and not by this one (CLOSE_WAIT).
    pub close_wait: u64,
    /// Of these, for ten seconds or longer.
    pub long_close_wait: u64,
    /// Connections with data that the application has not read.
    pub unread: u64,
    /// Pages that this data would fill, without what the kernel's buffers need beside it.
    pub unread_pages: u64,
    /// Time since data last came in on the one of them that was left unread for longest, where it was seen so twice.
    pub unread_ms: Option<u32>,
    /// Who holds those that have been in CLOSE_WAIT for long, where there are many.
    pub holders: Option<SocketHolders>,
}
