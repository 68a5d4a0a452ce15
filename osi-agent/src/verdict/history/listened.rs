//! Ports that were listened on: who is gone, and since when.

use core::net::IpAddr;
use std::collections::BTreeMap;

use crate::layer::Window;
use crate::scope::{Netns, Scope};

/// Ports that are remembered; while it is full, new ones are not.
const MAX_PORTS: usize = 4096;

/// Windows after which a port that is gone is no longer missed: clients have been told by then, and who still asks is a scan.
const FORGOTTEN: u64 = 600;

/// Windows whose SYNs are held against the limit: one now and then is a scan.
pub(crate) const RECENT: usize = 10;

/// A port as it was listened on.
#[derive(Clone, Debug)]
pub(crate) struct Listened {
    /// Local address of the listener; one of them where there were several.
    pub(crate) address: IpAddr,
    /// Windows at whose end it was listened on.
    pub(crate) windows: u64,
    /// The last one of them.
    last: u64,
    /// SYNs that found no socket in each of the last windows since then; by the window's number.
    refused: [u64; RECENT],
    /// Of these, in this window.
    pub(crate) refused_now: u64,
}

impl Listened {
    /// SYNs that found no socket in the last windows.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.iter().sum()
    }
}

/// Such ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    rows: BTreeMap<(Netns, u16), Listened>,
}

impl Ports {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        for state in &window.now.namespaces {
            for listener in &state.listeners {
                self.see(windows, &state.netns, listener.port, listener.address);
            }
        }
        let state = |netns: &Netns| window.now.namespaces.iter().find(|row| row.netns == *netns);
        // Who was not looked for is not gone.
        for ((netns, _), port) in &mut self.rows {
            let looked = state(netns).is_some_and(|state| state.listeners.is_read());
            port.last += u64::from(!looked && port.last + 1 == windows);
        }
        self.rows
            .retain(|(netns, _), port| port.last + FORGOTTEN > windows && state(netns).is_some());
        let slot = windows as usize % RECENT;
        for port in self.rows.values_mut() {
            (port.refused[slot], port.refused_now) = (0, 0);
        }
        for delta in window.listeners() {
            let key = (delta.netns, delta.port);
            let gone = self.rows.get_mut(&key).filter(|port| port.last < windows);
            if let Some(port) = gone {
                port.refused_now = delta.refused;
                port.refused[slot] = delta.refused;
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
            refused: [0; RECENT],
            refused_now: 0,
        });
        row.windows += u64::from(row.last < windows);
        (row.address, row.last, row.refused) = (address, windows, [0; RECENT]);
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
