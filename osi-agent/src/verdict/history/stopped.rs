//! Whose packets a packet filter stopped, over the last windows: another namespace of this host may be waiting for them.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use super::super::facts::dropped;
use crate::layer::Window;
use crate::layer::l3_network::netfilter::REASON;
use crate::scope::Netns;

/// Windows that an end is remembered: a patient client repeats its SYN after 1, 2, 4 and 8 seconds.
const WINDOWS: u64 = 10;

/// Ends that are remembered at most; while it is full, new ones are not.
const BOUND: usize = 1024;

/// Both ends of packets that a filter dropped, by namespace of the filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopped {
    ends: BTreeMap<(Netns, SocketAddr), u64>,
}

impl Stopped {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        self.ends.retain(|_, at| *at + WINDOWS > windows);
        for state in &window.now.namespaces {
            for seen in dropped(window, REASON, &state.netns) {
                let ends = [
                    (seen.local, seen.local_port),
                    (seen.remote, seen.remote_port),
                ];
                for (address, port) in ends {
                    let Some(address) = address else {
                        continue;
                    };
                    let end = SocketAddr::new(address.to_canonical(), port);
                    let key = (state.netns.clone(), end);
                    if self.ends.len() < BOUND || self.ends.contains_key(&key) {
                        self.ends.insert(key, windows);
                    }
                }
            }
        }
    }

    /// Whether a filter in this namespace stopped packets to or from there.
    pub(crate) fn has(&self, netns: &Netns, end: SocketAddr) -> bool {
        self.ends.contains_key(&(netns.clone(), end))
    }
}
