//! Client handshakes in flight, and what became of them per peer.

use crate::histogram::Coarse;
use crate::pod::{counters, kernel_struct};

/// Handshakes in flight that can be tracked at once.
pub const MAX_HANDSHAKES: u32 = 16_384;
/// Peers (namespace, address, port) that are counted apart; further ones count under their namespace only.
pub const MAX_PEERS: u32 = 4096;

kernel_struct! {
    /// A TCP connect that has not ended yet, keyed by the socket's address in the kernel.
    pub struct Handshake {
        /// When the connect began (CLOSE → SYN_SENT, boot time).
        pub begun_ns: u64,
        /// When the first SYN was built (`tcp_connect`); 0 where no hook sees it.
        pub sent_ns: u64,
        /// cgroup id of the connecting process.
        pub cgroup: u64,
        /// Network namespace.
        pub netns: u32,
        /// Connecting process (thread group).
        pub pid: u32,
        /// Its main thread's name.
        pub comm: [u8; 16],
    }

    /// Whom a connect went to.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct PeerKey {
        /// Network namespace of the connecting side.
        pub netns: u32,
        /// `AF_INET` or `AF_INET6`.
        pub family: u16,
        /// Destination port, host order.
        pub port: u16,
        /// Destination address: IPv4 in the first four bytes.
        pub address: [u8; 16],
    }
}

counters! {
    /// What became of the connects to one peer since the programs were loaded.
    pub struct Peer {
        /// Connects begun.
        pub attempts,
        /// Connects that reached ESTABLISHED.
        pub connected,
        /// Ended by a reset or port unreachable (`ECONNREFUSED`).
        pub refused,
        /// Ended by the kernel's own timer (`ETIMEDOUT`).
        pub timed_out,
        /// Ended by ICMP or the neighbour layer (`EHOSTUNREACH`, `ENETUNREACH`, …).
        pub unreachable,
        /// Found no local port.
        pub port_exhausted,
        /// Given up by the application before an answer.
        pub abandoned,
        /// Any other errno.
        pub other,
        /// SYNs sent again.
        pub syn_retransmits,
        /// Segments sent again on connections that were established with it.
        pub retransmits,
    }
}

kernel_struct! {
    /// A peer's value in the map: what became of the connects to it, and how long they took.
    #[derive(Default)]
    pub struct PeerRecord {
        /// Outcomes.
        pub outcomes: Peer,
        /// Handshakes that completed without a SYN sent again: those of the others are times of TCP's timers.
        pub times: Coarse,
    }
}

impl PeerRecord {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        outcomes: Peer::ZERO,
        times: Coarse::ZERO,
    };
}
