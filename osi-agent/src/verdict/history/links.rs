//! What links were when they worked: only one that was used can be missed.

use std::collections::{BTreeMap, VecDeque};

use crate::layer::Window;
use crate::scope::Scope;
use crate::snapshot::{Link, NetnsState, Route};

/// Links that are remembered.
const MAX_LINKS: usize = 4096;

/// Packets in a window above which a link is in use: a new interface announces itself with fewer.
const IN_USE_PACKETS: u64 = 10;

/// How long a change of the carrier is remembered.
pub(crate) const FLAP_SPAN_NS: u64 = 60_000_000_000;

/// Windows with changes of the carrier that are remembered.
const MAX_CHANGES: usize = 64;

/// A link when it last worked.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkMemory {
    /// Window in which it last had a carrier.
    pub(crate) last_up: u64,
    /// A route led over it, or over the bond or bridge it belongs to.
    pub(crate) routed: bool,
    /// It carried packets.
    pub(crate) used: bool,
    /// Its share of the namespace's packets.
    pub(crate) share: f64,
    /// Ends of windows in which the carrier came or went, and how often.
    changes: VecDeque<(u64, u64)>,
}

impl LinkMemory {
    /// How often the carrier came or went within [`FLAP_SPAN_NS`], and when it last did.
    pub(crate) fn carrier_changes(&self) -> Option<(u64, u64)> {
        let (last, _) = self.changes.back()?;
        Some((self.changes.iter().map(|(_, count)| count).sum(), *last))
    }

    fn note(&mut self, now: u64, changes: u64) {
        if changes > 0 {
            self.changes.push_back((now, changes));
        }
        let over = |(at, _): &(u64, u64)| *at + FLAP_SPAN_NS < now;
        while self.changes.len() > MAX_CHANGES || self.changes.front().is_some_and(over) {
            self.changes.pop_front();
        }
    }
}

/// Links by scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    rows: BTreeMap<Scope, LinkMemory>,
}

impl Links {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        let mut rows = std::mem::take(&mut self.rows);
        for (state, before) in window.namespaces() {
            let moved = before.map_or(0, |before| {
                state
                    .links
                    .iter()
                    .filter(|link| !link.loopback)
                    .map(|link| packets(link, before))
                    .sum()
            });
            for link in state.links.iter().filter(|link| !link.loopback) {
                let scope = Scope::iface(&state.netns, link.iface.ifindex, &link.iface.name);
                let mut memory = rows.remove(&scope);
                if let Some(memory) = &mut memory {
                    memory.note(window.now.boot_ns, changes(link, before));
                }
                if link.admin_up && link.carrier && self.rows.len() < MAX_LINKS {
                    let own = before.map_or(0, |before| packets(link, before));
                    remember(
                        memory.get_or_insert_default(),
                        windows,
                        state,
                        link,
                        own,
                        moved,
                    );
                }
                self.rows.extend(memory.map(|memory| (scope, memory)));
            }
        }
    }

    /// What the link was when it last worked, if it ever did while it was watched.
    pub(crate) fn when_up(&self, scope: &Scope) -> Option<&LinkMemory> {
        self.rows.get(scope)
    }
}

fn remember(
    memory: &mut LinkMemory,
    windows: u64,
    state: &NetnsState,
    link: &Link,
    own: u64,
    all: u64,
) {
    let over = |route: &&Route| {
        route.ifindex == Some(link.iface.ifindex)
            || route.ifindex.is_some() && route.ifindex == link.master
    };
    memory.last_up = windows;
    memory.routed = state
        .routes
        .iter()
        .filter(over)
        .any(super::routes::is_global);
    if own > IN_USE_PACKETS {
        memory.used = true;
        memory.share = own as f64 / all.max(own) as f64;
    }
}

/// Changes of the carrier in the window. Whoever sets a link down and up means it.
fn changes(link: &Link, before: Option<&NetnsState>) -> u64 {
    let old = before.and_then(|before| before.links.iter().find(|old| old.iface == link.iface));
    old.filter(|old| old.admin_up && link.admin_up)
        .map_or(0, |old| {
            link.carrier_changes.saturating_sub(old.carrier_changes)
        })
}

fn packets(link: &Link, before: &NetnsState) -> u64 {
    let total = |link: &Link| link.stats.rx_packets + link.stats.tx_packets;
    let old = before.links.iter().find(|old| old.iface == link.iface);
    old.map_or(0, |old| total(link).saturating_sub(total(old)))
}
