//! Routes that went away while the agent watched.

use core::cmp::Reverse;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::layer::Window;
use crate::scope::Netns;
use crate::snapshot::{NetnsState, Route};

/// Windows after which a lost route is no longer missed.
const MEMORY_WINDOWS: u64 = 300;

/// Lost routes that are remembered per namespace.
const MAX_LOST: usize = 64;

/// Lost routes by namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    lost: BTreeMap<Netns, Vec<(u64, Route)>>,
}

impl Routes {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        let mut all = std::mem::take(&mut self.lost);
        for (state, before) in window.namespaces() {
            let mut lost = all.remove(&state.netns).unwrap_or_default();
            if let Some(before) = before.filter(|before| before.routes.rows != state.routes.rows) {
                let now: BTreeSet<_> = state.routes.iter().map(identity).collect();
                let gone = before
                    .routes
                    .iter()
                    .filter(|route| is_global(route) && !now.contains(&identity(route)));
                lost.extend(gone.map(|route| (windows, route.clone())));
                lost.retain(|(_, route)| !now.contains(&identity(route)));
            }
            lost.retain(|(since, _)| since + MEMORY_WINDOWS > windows);
            // The latest stay, and the ways out before all: containers take theirs along by the hundred.
            lost.sort_by_key(|(since, route)| (route.destination.is_some(), Reverse(*since)));
            lost.truncate(MAX_LOST);
            if !lost.is_empty() {
                self.lost.insert(state.netns.clone(), lost);
            }
        }
    }

    /// Routes that the namespace had and has no more.
    pub(crate) fn lost(&self, netns: &Netns) -> impl Iterator<Item = &Route> {
        self.lost
            .get(netns)
            .into_iter()
            .flatten()
            .map(|(_, route)| route)
    }

    /// Lost routes of a family that somebody may miss: ways out, and networks whose interface is still there. Tunnels and
    /// containers that end take theirs along.
    pub(crate) fn missed(&self, state: &NetnsState, v6: bool) -> bool {
        let single = if v6 { 128 } else { 32 };
        let there = |ifindex| state.links.iter().any(|link| link.iface.ifindex == ifindex);
        self.lost(&state.netns).any(|route| {
            let of_a_network = route.prefix < single && route.ifindex.is_some_and(there);
            route.v6 == v6 && (route.destination.is_none() || of_a_network)
        })
    }

    /// The IPv6 way out that a router advertised, where that is the one that was lost.
    pub(crate) fn advertised(&self, netns: &Netns) -> Option<&Route> {
        self.lost(netns)
            .find(|route| route.v6 && route.destination.is_none() && route.advertised)
    }

    /// Interfaces over which the address is reached, or was until the route was lost.
    pub(crate) fn egress(&self, state: &NetnsState, address: IpAddr) -> BTreeSet<u32> {
        let now = best(state.routes.iter(), address);
        let lost = best(self.lost(&state.netns), address);
        let both = now.into_iter().chain(lost);
        both.filter_map(|route| route.ifindex).collect()
    }
}

/// The router that the most exact route to an address leads to, if there is one.
pub(crate) fn gateway(state: &NetnsState, address: IpAddr) -> Option<IpAddr> {
    let routes = best(state.routes.iter(), address);
    routes.iter().find_map(|route| route.gateway)
}

/// The most exact routes to an address.
fn best<'a>(routes: impl Iterator<Item = &'a Route>, address: IpAddr) -> Vec<&'a Route> {
    let (mut prefix, mut found) = (0, Vec::new());
    for route in routes.filter(|route| covers(route, address)) {
        if route.prefix > prefix {
            found.clear();
            prefix = route.prefix;
        }
        if route.prefix == prefix {
            found.push(route);
        }
    }
    found
}

/// Whether the route leads to the address.
pub(crate) fn covers(route: &Route, address: IpAddr) -> bool {
    if route.v6 != address.is_ipv6() {
        return false;
    }
    match (route.destination, address) {
        (None, _) => true,
        (Some(IpAddr::V4(network)), IpAddr::V4(address)) => {
            let differing = u32::from(network) ^ u32::from(address);
            u32::from(route.prefix) <= differing.leading_zeros()
        }
        (Some(IpAddr::V6(network)), IpAddr::V6(address)) => {
            let differing = u128::from(network) ^ u128::from(address);
            u32::from(route.prefix) <= differing.leading_zeros()
        }
        (Some(IpAddr::V4(_)), IpAddr::V6(_)) | (Some(IpAddr::V6(_)), IpAddr::V4(_)) => false,
    }
}

/// Whether the route says that the interface is in use: every IPv6 interface has link-local and multicast ones.
pub(crate) fn is_global(route: &Route) -> bool {
    match route.destination {
        None => true,
        Some(IpAddr::V4(network)) => !network.is_loopback() && !network.is_multicast(),
        Some(IpAddr::V6(network)) => {
            !network.is_loopback() && !network.is_unicast_link_local() && !network.is_multicast()
        }
    }
}

fn identity(route: &Route) -> (Option<IpAddr>, u8, Option<u32>, bool) {
    let Route {
        destination,
        prefix,
        ifindex,
        v6,
        ..
    } = route;
    (*destination, *prefix, *ifindex, *v6)
}
