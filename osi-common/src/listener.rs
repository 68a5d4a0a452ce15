//! Ports that are listened on, or were of late: how long handshakes take there, sessions that broke off, and SYNs that nobody
//! listens to any more.

use crate::histogram::Coarse;
use crate::pod::kernel_struct;

/// Listening ports that are counted apart; at further ones nothing is, and that is said.
pub const MAX_LISTENERS: u32 = 1024;

kernel_struct! {
    /// A TCP port in a namespace, whatever the address.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct ListenerKey {
        /// Network namespace.
        pub netns: u32,
        /// Local port, host order.
        pub port: u32,
    }

    /// What happened at one listening port since it was first seen.
    #[derive(Default)]
    pub struct ListenerRecord {
        /// SYNs that the kernel dropped because no socket was there, which it answers with a reset.
        pub refused: u64,
        /// Accepted connections that their clients reset while something was going on.
        pub sessions_reset: u64,
        /// Accepted connections that the kernel's timers gave up (`ETIMEDOUT`).
        pub sessions_timed_out: u64,
        /// SYN-ACK to its acknowledgement, as the kernel measured it.
        pub times: Coarse,
    }
}

impl ListenerRecord {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        refused: 0,
        sessions_reset: 0,
        sessions_timed_out: 0,
        times: Coarse::ZERO,
    };

    /// What was counted since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let growth = |now: u64, before: u64| now.saturating_sub(before);
        Self {
            refused: growth(self.refused, earlier.refused),
            sessions_reset: growth(self.sessions_reset, earlier.sessions_reset),
            sessions_timed_out: growth(self.sessions_timed_out, earlier.sessions_timed_out),
            times: self.times.since(&earlier.times),
        }
    }
}
