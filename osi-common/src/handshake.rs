//! Client handshakes in flight, and what became of them per peer.

use crate::failure::Killer;
use crate::histogram::Coarse;
use crate::pod::{counters, kernel_struct};

/// Handshakes in flight that can be tracked at once: those of 8000 connects a second to peers that take a second to answer.
pub const MAX_HANDSHAKES: u32 = 8192;
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
        /// When that process started (boot time), 0 where it can not be read.
        pub started_ns: u64,
        /// Network namespace.
        pub netns: u32,
        /// Connecting process (thread group).
        pub pid: u32,
        /// Its main thread's name.
        pub comm: [u8; 16],
        /// Packets of the socket that this host dropped.
        pub dropped: u64,
        /// The function that dropped the last of them, 0 for none.
        pub drop_location: u64,
        /// Its reason, as `skb_drop_reason`.
        pub drop_reason: u32,
        /// 1 once a reset came.
        pub reset: u32,
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

impl PeerKey {
    /// What this host's own port is counted under, where addresses are not told apart.
    #[inline(always)]
    pub const fn own_port(netns: u32, port: u16) -> Self {
        Self {
            netns,
            family: 0,
            port,
            address: [0; 16],
        }
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
        /// Established connections that it reset while something was going on.
        pub sessions_reset,
        /// Established connections with it that the kernel's timers gave up (`ETIMEDOUT`).
        pub sessions_timed_out,
    }

    /// What ended the connects to one peer that failed, see [`Killer`].
    pub struct Killed {
        /// No local port.
        pub no_port,
        /// Drops on this host.
        pub dropped,
        /// A reset.
        pub reset,
        /// The route was gone.
        pub no_route,
        /// An ICMP error.
        pub icmp_error,
        /// Silence.
        pub no_answer,
        /// The application.
        pub given_up,
        /// Another error.
        pub other,
    }
}

impl Peer {
    /// Connects that have begun and not ended.
    pub const fn waiting(&self) -> u64 {
        let ended = self.connected
            + self.refused
            + self.timed_out
            + self.unreachable
            + self.port_exhausted
            + self.abandoned
            + self.other;
        self.attempts.saturating_sub(ended)
    }
}

impl Killed {
    /// How many this one ended.
    pub const fn by(&self, killer: Killer) -> u64 {
        match killer {
            Killer::Unknown => 0,
            Killer::NoPort => self.no_port,
            Killer::Dropped => self.dropped,
            Killer::Reset => self.reset,
            Killer::NoRoute => self.no_route,
            Killer::IcmpError => self.icmp_error,
            Killer::NoAnswer => self.no_answer,
            Killer::GivenUp => self.given_up,
            Killer::Other => self.other,
        }
    }
}

kernel_struct! {
    /// A peer's value in the map: what became of the connects to it, and how long they took.
    #[derive(Default)]
    pub struct PeerRecord {
        /// Outcomes.
        pub outcomes: Peer,
        /// What ended those that failed.
        pub killed: Killed,
        /// The function of the last drop that ended one, 0 for none.
        pub drop_location: u64,
        /// Its reason, as `skb_drop_reason`.
        pub drop_reason: u32,
        /// Room between the fields; always 0.
        pub padding: u32,
        /// Handshakes that completed without a SYN sent again: those of the others are times of TCP's timers.
        pub times: Coarse,
    }
}

impl PeerRecord {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        outcomes: Peer::ZERO,
        killed: Killed::ZERO,
        drop_location: 0,
        drop_reason: 0,
        padding: 0,
        times: Coarse::ZERO,
    };
}
