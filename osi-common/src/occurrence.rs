//! Things that happen and are counted: drops, connects, failures, retransmits, resets, ICMP errors.
//!
//! Every hook reports through one map of [`Key`] → [`Count`] (per CPU): that map is the truth.
//! A few occurrences are also sent to the ring as [`Sample`]s, to show a flow, a process, an interface;
//! what is not sampled is still counted, so that user space can always state the exact total.

use crate::pod::kernel_struct;
use crate::wire::NAME_BYTES;

/// What happened. The number is only a protocol between this build's programs and this build's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Kind {
    /// A packet freed as dropped (`kfree_skb`). Code: raw `skb_drop_reason`; location: the caller.
    Drop = 1,
    /// `connect()` on TCP began (CLOSE → SYN_SENT).
    Connect = 2,
    /// A TCP connect succeeded (SYN_SENT → ESTABLISHED), or a simultaneous open did.
    Connected = 3,
    /// A TCP connect failed (SYN_SENT → CLOSE). Code: [`crate::failure::Failure`]; location: the caller of the last drop where
    /// drops ended it.
    ConnectFailed = 4,
    /// No local port could be had (SYN_SENT → CLOSE with source port 0). Code: as above.
    PortExhausted = 5,
    /// A passive open completed (SYN_RECV → ESTABLISHED).
    Accepted = 6,
    /// A passive open completed but the kernel took no SYN-ACK round-trip sample.
    AcceptedUnmeasured = 7,
    /// A segment sent again. Code: [`Phase`].
    Retransmit = 8,
    /// A SYN-ACK sent again by a listener.
    RetransmitSynack = 9,
    /// This host sent a reset. Code: `sk_rst_reason` where the kernel has it, else 0.
    ResetSent = 10,
    /// A reset arrived. Code: the TCP state that it ended.
    ResetReceived = 11,
    /// An established connection ended (… → CLOSE). Code: `sk_err`, 0 for a clean close; location: 1 where an error ended what
    /// was over already: its application had closed it, or said farewell.
    Closed = 12,
    /// An ICMP or ICMPv6 error came in on an interface. Code: [`crate::icmp::number`].
    IcmpErrorReceived = 13,
    /// An ICMP or ICMPv6 error of this host left by an interface. Code: as above.
    IcmpErrorSent = 14,
    /// One that had come in left by an interface: this host only handed it on. Code: as above.
    IcmpErrorForwarded = 15,
    /// The first full-size segment of a connection was sent again after two time-outs, beside the count as [`Kind::Retransmit`].
    /// Code: 1 where the peer has acknowledged what was sent after it (SACK), 0 where nothing tells.
    FullSizeUnacked = 16,
    /// A socket wanted any local port and got none: `bind` to port 0, `listen`, or the first send of UDP. Code: IP protocol.
    PortRefused = 17,
    /// A DNS query was answered with an error, or not at all. Code: see [`crate::dns::outcome`].
    DnsFailed = 18,
    /// A TLS handshake came to no good end. Code: see [`crate::tls::failure`].
    TlsFailed = 19,
    /// An HTTP request was answered with an error (4xx, 5xx), or not at all. Code: the status, or [`crate::http::NO_ANSWER`].
    HttpFailed = 20,
}

impl Kind {
    /// All kinds, in numeric order.
    pub const ALL: [Self; 20] = [
        Self::Drop,
        Self::Connect,
        Self::Connected,
        Self::ConnectFailed,
        Self::PortExhausted,
        Self::Accepted,
        Self::AcceptedUnmeasured,
        Self::Retransmit,
        Self::RetransmitSynack,
        Self::ResetSent,
        Self::ResetReceived,
        Self::Closed,
        Self::IcmpErrorReceived,
        Self::IcmpErrorSent,
        Self::IcmpErrorForwarded,
        Self::FullSizeUnacked,
        Self::PortRefused,
        Self::DnsFailed,
        Self::TlsFailed,
        Self::HttpFailed,
    ];

    /// The kind with this number, if this build knows it.
    pub fn from_u32(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// In which part of a connection's life a segment was retransmitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Phase {
    /// SYN sent, nothing back yet.
    Handshake = 1,
    /// Established: payload.
    Data = 2,
    /// After the first FIN.
    Close = 3,
}

impl Phase {
    /// The phase a socket in this TCP state (`include/net/tcp_states.h`) is in.
    pub const fn of_tcp_state(state: u8) -> Self {
        match state {
            TCP_SYN_SENT | TCP_SYN_RECV | TCP_NEW_SYN_RECV => Self::Handshake,
            TCP_ESTABLISHED | TCP_CLOSE_WAIT => Self::Data,
            _ => Self::Close,
        }
    }
}

/// Whether a socket in this TCP state is in use by its application: established, whether the peer still sends or not.
pub const fn is_session(state: u32) -> bool {
    state == TCP_ESTABLISHED as u32 || state == TCP_CLOSE_WAIT as u32
}

/// Whether the kernel gave an established connection up because the other end fell silent: with ETIMEDOUT, or with the ICMP error
/// that came meanwhile, such as that of a neighbour who does not answer (`tcp_write_err`).
pub const fn is_given_up(errno: u32) -> bool {
    const ENETUNREACH: u32 = 101;
    const ETIMEDOUT: u32 = 110;
    const EHOSTUNREACH: u32 = 113;
    matches!(errno, ENETUNREACH | ETIMEDOUT | EHOSTUNREACH)
}

/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`; these numbers are kernel ABI (`ss`, `/proc/net/tcp`).
pub const TCP_ESTABLISHED: u8 = 1;
/// `TCP_SYN_SENT`.
pub const TCP_SYN_SENT: u8 = 2;
/// `TCP_SYN_RECV`.
pub const TCP_SYN_RECV: u8 = 3;
/// `TCP_FIN_WAIT1`.
pub const TCP_FIN_WAIT1: u8 = 4;
/// `TCP_FIN_WAIT2`.
pub const TCP_FIN_WAIT2: u8 = 5;
/// `TCP_CLOSE`.
pub const TCP_CLOSE: u8 = 7;
/// `TCP_CLOSE_WAIT`.
pub const TCP_CLOSE_WAIT: u8 = 8;
/// `TCP_LISTEN`.
pub const TCP_LISTEN: u8 = 10;
/// `TCP_NEW_SYN_RECV`: a request socket.
pub const TCP_NEW_SYN_RECV: u8 = 12;

kernel_struct! {
    /// What an occurrence is counted under.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct Key {
        /// A [`Kind`] as number.
        pub kind: u32,
        /// Reason, failure, errno, phase, state or ICMP message: see [`Kind`].
        pub code: u32,
        /// Inode number of the network namespace; 0 when it is not known.
        pub netns: u32,
        /// Interface index where the occurrence has one, else 0.
        pub ifindex: u32,
        /// Address of the calling kernel function for drops and for connects that drops ended; see [`Kind::Closed`]; else 0.
        pub location: u64,
    }

    /// How often it happened since the programs were loaded, on one CPU.
    #[derive(Default)]
    pub struct Count {
        /// Occurrences; for drops: packets (skbs).
        pub count: u64,
        /// For drops: segments, max(1, gso_segs) of each packet. Of no meaning otherwise.
        pub segments: u64,
        /// The [`EPOCH_SLOT`] value and how many [`Sample`]s this CPU sent in it, see [`sampled`].
        pub sampled: u64,
    }

    /// One occurrence in detail, as sent to the ring.
    pub struct Sample {
        /// When (`CLOCK_BOOTTIME`).
        pub at_ns: u64,
        /// What it is counted under.
        pub key: Key,
        /// cgroup id of the process, 0 when not known.
        pub cgroup: u64,
        /// When the process started (`CLOCK_BOOTTIME`), 0 when not known.
        pub started_ns: u64,
        /// Process id (thread group) where the current task is certain to be the actor, else 0.
        pub pid: u32,
        /// `ETH_P_*` of a dropped packet, host order; 0 otherwise.
        pub ethertype: u16,
        /// `AF_INET` or `AF_INET6`; 0 when there are no addresses.
        pub family: u16,
        /// Local address: IPv4 in the first four bytes.
        pub local: [u8; 16],
        /// Remote address: IPv4 in the first four bytes.
        pub remote: [u8; 16],
        /// Who sent the ICMP error, of which the addresses above and the ports below are the packet that it answers; who ended a
        /// TLS handshake; zeros otherwise.
        pub sender: [u8; 16],
        /// Local port, host order.
        pub local_port: u16,
        /// Remote port, host order.
        pub remote_port: u16,
        /// IP protocol number, 0 when not known.
        pub protocol: u16,
        /// 1 for a dropped packet that the kernel had found to be of an established connection of its namespace; 0 otherwise.
        pub established: u16,
        /// Name of the process's main thread, NUL padded; empty when `pid` is 0.
        pub comm: [u8; 16],
        /// What was asked for, cut: a name of DNS in wire format (RFC 1035 3.1), a server's name of TLS or method and path of an HTTP
        /// request as text; zeros where there is none, and with `--no-names`.
        pub name: [u8; NAME_BYTES],
    }
}

impl Key {
    /// The code in [`Key::other`]; no reason, errno, phase or state is this large.
    pub const OTHER: u32 = u32::MAX;

    /// The code of a drop on kernels that name no reason (before 5.17), where the packet itself tells it: it had no hop left.
    pub const NO_HOP_LEFT: u32 = 1;

    /// Where occurrences of a kind are counted that found no room of their own. The agent makes these keys before the programs run.
    #[inline(always)]
    pub const fn other(kind: u32, netns: u32) -> Self {
        Self {
            kind,
            code: Self::OTHER,
            netns,
            ifindex: 0,
            location: 0,
        }
    }
}

impl Count {
    /// Adds another CPU's share; what was sampled is each CPU's own affair.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            count,
            segments,
            sampled: _,
        } = other;
        self.count += count;
        self.segments += segments;
    }
}

/// Samples that one CPU sends of one key in one epoch: the ring carries examples, the map carries the truth.
///
/// An epoch is a window of the agent. It is a number that user space raises, so that deciding costs no clock read.
pub const SAMPLES_PER_EPOCH: u64 = 4;

/// Slots of the control map, through which the agent speaks to loaded programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Control {
    /// Number of the current epoch, from 1.
    Epoch = 0,
    /// 1 once a `tcp_connect` hook is attached: from then on a handshake without a time of sending was never sent.
    TcpConnectHooked = 1,
}

/// Number of [`Control`] slots.
pub const CONTROLS: u32 = 2;

/// The next value of [`Count::sampled`] and whether the occurrence at hand is to be sent, given the current epoch.
#[inline(always)]
pub const fn sampled(before: u64, epoch: u64) -> (u64, bool) {
    let sent = if before >> 8 == epoch {
        before & 0xff
    } else {
        0
    };
    if sent < SAMPLES_PER_EPOCH {
        (epoch << 8 | (sent + 1), true)
    } else {
        (before, false)
    }
}

/// Size of the occurrence map in keys: 200 namespaces with forty each. Full means that further keys are counted under
/// [`Key::other`], by kind only, and said so. 24 bytes per key and possible CPU.
pub const MAX_KEYS: u32 = 8192;

/// What the programs say about themselves, one per-CPU array slot each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Health {
    /// Samples that found the ring full.
    RingFull = 0,
    /// Occurrences that found the occurrence map full and were counted by kind only.
    KeysFull = 1,
    /// Handshakes that found the handshake map full.
    HandshakesFull = 2,
    /// Connects to peers that found the peer map full.
    PeersFull = 3,
    /// Occurrences suppressed as samples (counted, not sent).
    NotSampled = 4,
    /// Samples sent.
    Sampled = 5,
    /// Packets on an interface that has no slot.
    NoSlot = 6,
    /// Occurrences that could not be counted at all.
    Uncounted = 7,
    /// Handshakes at listening ports that found the map of these full.
    ListenersFull = 8,
    /// Listening sockets whose opener found no room.
    OpenersFull = 9,
    /// Waits at listening ports that found the map of these full.
    RequestsFull = 10,
    /// Waits for peers that found the map of these full.
    DependenciesFull = 11,
    /// Connections that could not be followed: the kernel gave no memory, or the table of them is full.
    Unfollowed = 12,
    /// DNS queries that found the map of those in flight full.
    QueriesFull = 13,
    /// DNS queries to resolvers that found the map of these full, and their answers.
    ResolversFull = 14,
    /// Packets with more DNS messages than are looked at.
    MessagesSkipped = 15,
    /// TLS handshakes that found the map of those in flight full.
    TlsFull = 16,
    /// TLS handshakes with servers, or at ports, that found the map of these full.
    EndpointsFull = 17,
    /// HTTP requests that found the map of connections full.
    HttpConnectionsFull = 18,
    /// HTTP requests to servers that found the map of these full, and their answers.
    HttpServersFull = 19,
    /// QUIC handshakes that found the map of those in flight full.
    QuicFull = 20,
    /// Ids of QUIC's clients that found the map of these full.
    QuicClientsFull = 21,
}

/// Number of [`Health`] slots.
pub const HEALTH_SLOTS: u32 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_its_own_samples() {
        let (mut state, mut sent) = (0, 0);
        for epoch in [1, 1, 1, 1, 1, 1, 2, 2] {
            let (next, send) = sampled(state, epoch);
            state = next;
            sent += u64::from(send);
        }
        assert_eq!(sent, SAMPLES_PER_EPOCH + 2);
    }

    #[test]
    fn kinds_survive_the_way_through_the_kernel() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_u32(kind as u32), Some(kind));
        }
        assert_eq!(Kind::from_u32(0), None);
    }
}
