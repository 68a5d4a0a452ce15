//! Who said that a packet's hops ran out: a router in a loop says it a few times at once, and then once a second.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::super::facts::{Seen, answered, by_destination};
use super::Recent;
use crate::layer::Window;
use crate::layer::l3_network::icmp::is_expired;
use crate::scope::Netns;

/// Examples of such messages of the last windows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expired {
    recent: Recent<Messages>,
}

/// How often each was seen.
pub(crate) type Messages = BTreeMap<About, u64>;

/// Who said it about packets of which flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct About {
    /// The router.
    pub(crate) sender: IpAddr,
    /// IP protocol number of the packet.
    pub(crate) protocol: u32,
    /// Its source port, 0 where it has none.
    pub(crate) local_port: u16,
    /// Its destination port, 0 where it has none.
    pub(crate) remote_port: u16,
}

impl Expired {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        self.recent.forget(windows);
        for state in &window.now.namespaces {
            let samples = answered(window, &state.netns, is_expired);
            for (destination, seen) in by_destination(&samples) {
                let mut messages = Messages::new();
                for about in seen.into_iter().filter_map(about) {
                    *messages.entry(about).or_default() += 1;
                }
                self.recent
                    .remember(windows, &state.netns, destination, messages);
            }
        }
    }

    /// Destinations of the last windows, each with the messages of all of them.
    pub(crate) fn within(&self, netns: &Netns) -> impl Iterator<Item = (IpAddr, Messages)> {
        self.recent.of(netns).map(|(destination, rows)| {
            let mut sum = Messages::new();
            for (about, times) in rows.iter().flat_map(|(_, messages)| messages) {
                *sum.entry(*about).or_default() += times;
            }
            (destination, sum)
        })
    }
}

fn about(seen: &Seen) -> Option<About> {
    Some(About {
        sender: seen.sender?,
        protocol: seen.protocol,
        local_port: seen.local_port,
        remote_port: seen.remote_port,
    })
}
