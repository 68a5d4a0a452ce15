//! Packets on their way to a listener that a filter dropped, over the last windows: samples are few, and a client repeats itself.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use super::super::facts::{Seen, dropped};
use super::Routes;
use crate::layer::l3_network::netfilter::{REASON, by_rules};
use crate::layer::{LayerMap, Window};
use crate::scope::{Netns, Scope};
use crate::snapshot::{Mib, NetnsState};

/// Windows that are added up.
const WINDOWS: u64 = 3;

/// IP protocol number of TCP.
pub(crate) const TCP: u32 = 6;

/// Drops on the way to listeners, per namespace and window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filtered {
    rows: BTreeMap<Netns, VecDeque<(u64, Inbound)>>,
}

/// What a filter kept from a namespace's listeners.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbound {
    /// Samples by listening port and source.
    pub(crate) sources: BTreeMap<(u16, IpAddr), u64>,
    /// Packets, the samples' share of all that were dropped.
    pub(crate) dropped: u64,
    /// Connections that the namespace accepted meanwhile.
    pub(crate) accepted: u64,
}

impl Filtered {
    pub(super) fn observe(
        &mut self,
        windows: u64,
        window: &Window,
        map: &LayerMap,
        routes: &Routes,
    ) {
        self.rows.retain(|_, inbound| {
            inbound.retain(|(at, _)| at + WINDOWS > windows);
            !inbound.is_empty()
        });
        for row in by_rules(map) {
            let of_row = |state: &&NetnsState| Scope::netns(&state.netns) == row.scope;
            let Some(state) = window.now.namespaces.iter().find(of_row) else {
                continue;
            };
            let rows = self.rows.entry(state.netns.clone()).or_default();
            if rows.back().is_none_or(|(at, _)| *at < windows) {
                rows.push_back((windows, inbound(window, map, routes, state)));
            }
        }
    }

    /// The last windows of a namespace, if this one belongs to them.
    pub(crate) fn inbound(&self, windows: u64, netns: &Netns) -> Option<Inbound> {
        let rows = self.rows.get(netns)?;
        let (at, last) = rows.back()?;
        if *at != windows || last.sources.is_empty() {
            return None;
        }
        let mut sum = Inbound::default();
        for (_, inbound) in rows {
            sum.dropped += inbound.dropped;
            sum.accepted += inbound.accepted;
            for (key, count) in &inbound.sources {
                *sum.sources.entry(*key).or_default() += count;
            }
        }
        Some(sum)
    }
}

fn inbound(window: &Window, map: &LayerMap, routes: &Routes, state: &NetnsState) -> Inbound {
    let scope = Scope::netns(&state.netns);
    let packets: u64 = by_rules(map)
        .filter(|row| row.scope == scope)
        .map(|row| row.packets)
        .sum();
    let samples = dropped(window, REASON, &state.netns);
    let mut sources = BTreeMap::new();
    for seen in &samples {
        if let (Some(source), true) = (seen.local, is_for_listener(routes, state, seen)) {
            *sources.entry((seen.remote_port, source)).or_default() += 1;
        }
    }
    let hit: u64 = sources.values().sum();
    Inbound {
        sources,
        dropped: (packets as f64 * hit as f64 / samples.len().max(1) as f64).round() as u64,
        accepted: window.mib_in(&state.netns, Mib::TcpPassiveOpens),
    }
}

/// Whether somebody here listens where the packet went. A packet of a socket is on its way out, or a connection's own.
fn is_for_listener(routes: &Routes, state: &NetnsState, seen: &Seen) -> bool {
    let Some(to) = seen.remote.map(|address| address.to_canonical()) else {
        return false;
    };
    let hears = |address: IpAddr| match address {
        IpAddr::V4(any) if any.is_unspecified() => to.is_ipv4(),
        IpAddr::V6(any) if any.is_unspecified() => true,
        IpAddr::V4(_) | IpAddr::V6(_) => address.to_canonical() == to,
    };
    let inbound = seen.protocol == TCP && seen.ifindex != 0 && !to.is_multicast();
    inbound
        && !is_passing(routes, state, seen)
        && state
            .listeners
            .iter()
            .any(|listener| listener.port == seen.remote_port && hears(listener.address))
}

/// Whether a router has the packet only to hand it on: its destination is reached over another interface than it came from.
/// The addresses of interfaces are not read, and an own address is as a rule on the network that packets for it come from.
pub(crate) fn is_passing(routes: &Routes, state: &NetnsState, seen: &Seen) -> bool {
    let Some(to) = seen.remote else {
        return false;
    };
    let loopback = || {
        let arrived = |link: &&crate::snapshot::Link| link.iface.ifindex == seen.ifindex;
        state
            .links
            .iter()
            .find(arrived)
            .is_some_and(|link| link.loopback)
    };
    let forwards = state.mibs.get(Mib::IpForwDatagrams).unwrap_or(0) > 0;
    if !forwards || seen.ifindex == 0 || loopback() {
        return false;
    }
    let egress = routes.egress(state, to);
    !egress.is_empty() && !egress.contains(&seen.ifindex)
}
