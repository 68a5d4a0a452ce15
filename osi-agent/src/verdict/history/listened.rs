//! Ports that were listened on: who is gone, and since when.

use core::net::IpAddr;
use std::collections::BTreeMap;

use crate::layer::Window;
use crate::scope::{Netns, Scope};
use crate::snapshot::host::LISTENERS;

/// Ports that are remembered; while it is full, new ones are not.
const MAX_PORTS: usize = 4096;

/// Windows after which a port that is gone is no longer missed: clients have been told by then, and who still asks is a scan.
const FORGOTTEN: u64 = 600;

/// A port as it was listened on.
#[derive(Clone, Debug)]
pub(crate) struct Listened {
    /// Local address of the listener; one of them where there were several.
    pub(crate) address: IpAddr,
    /// Windows at whose end it was listened on.
    pub(crate) windows: u64,
    /// The last one of them.
    last: u64,
    /// SYNs that found no socket since then.
    pub(crate) refused: u64,
    /// Of these, in this window.
    pub(crate) refused_now: u64,
}

/// Such ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    rows: BTreeMap<(Netns, u16), Listened>,
}

impl Ports {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        // Who was not seen is not gone.
        if window.is_unread(LISTENERS) {
            for port in self.rows.values_mut() {
                port.last += u64::from(port.last + 1 == windows);
                port.refused_now = 0;
            }
            return;
        }
        for state in &window.now.namespaces {
            for listener in &state.listeners {
                self.see(windows, &state.netns, listener.port, listener.address);
            }
        }
        let here = |netns: &Netns| window.now.namespaces.iter().any(|row| row.netns == *netns);
        self.rows
            .retain(|(netns, _), port| port.last + FORGOTTEN > windows && here(netns));
        for port in self.rows.values_mut() {
            port.refused_now = 0;
        }
        for delta in window.listeners() {
            let key = (delta.netns, delta.port);
            let gone = self.rows.get_mut(&key).filter(|port| port.last < windows);
            if let Some(port) = gone {
                port.refused_now = delta.refused;
                port.refused += delta.refused;
            }
        }
    }

    fn see(&mut self, windows: u64, netns: &Netns, port: u16, address: IpAddr) {
        let key = (netns.clone(), port);
        if self.rows.len() >= MAX_PORTS && !self.rows.contains_key(&key) {
            return;
        }
        let row = self.rows.entry(key).or_insert(Listened {
            address,
            windows: 0,
            last: 0,
            refused: 0,
            refused_now: 0,
        });
        row.windows += u64::from(row.last < windows);
        (row.address, row.last, row.refused) = (address, windows, 0);
    }

    /// Ports that nobody listens on any more: where they were, what is known, and for how many windows they have been gone.
    pub(crate) fn gone(&self, windows: u64) -> impl Iterator<Item = (Scope, &Listened, u64)> {
        let gone = self
            .rows
            .iter()
            .filter(move |(_, port)| port.last < windows);
        gone.map(move |((netns, number), port)| {
            let scope = Scope::listener(netns, port.address, *number);
            (scope, port, windows - port.last)
        })
    }
}
