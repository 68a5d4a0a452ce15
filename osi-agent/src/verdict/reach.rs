//! Whether a fault in one scope can be felt in another.

use core::net::{IpAddr, SocketAddr};

use super::history::{Routes, Stopped};
use crate::layer::Window;
use crate::scope::{Netns, Scope, ScopeKind};
use crate::snapshot::{Link, NetnsState};

/// What is known of who reaches whom over what.
#[derive(Clone, Copy)]
pub(super) struct Reach<'a> {
    window: &'a Window<'a>,
    routes: &'a Routes,
    stopped: &'a Stopped,
}

impl<'a> Reach<'a> {
    pub(super) fn new(window: &'a Window<'a>, routes: &'a Routes, stopped: &'a Stopped) -> Self {
        Self {
            window,
            routes,
            stopped,
        }
    }

    /// Whether a fault in `fault` can be felt in `felt`.
    pub(super) fn covers(&self, fault: &Scope, felt: &Scope) -> bool {
        match fault.kind {
            ScopeKind::Iface if fault.local.is_none() => self.link_covers(fault, felt),
            ScopeKind::Peer if fault.iface.is_some() => {
                fault.covers(felt) || self.gateway_covers(fault, felt)
            }
            ScopeKind::Listener => fault.covers(felt) || self.listener_covers(fault, felt),
            ScopeKind::Netns => fault.covers(felt) || self.filter_covers(fault, felt),
            ScopeKind::Host
            | ScopeKind::Iface
            | ScopeKind::Peer
            | ScopeKind::Pool
            | ScopeKind::Process
            | ScopeKind::Resolver => fault.covers(felt),
        }
    }

    /// A link is felt by whoever is reached over it. Hardware also carries the namespaces that have none of their own.
    fn link_covers(&self, fault: &Scope, felt: &Scope) -> bool {
        if fault.netns != felt.netns {
            return felt.kind != ScopeKind::Host && self.carries(fault, felt);
        }
        let over_it = |remote| {
            let egress = self
                .state(felt)
                .map(|state| self.routes.egress(state, remote))
                .unwrap_or_default();
            egress.is_empty()
                || fault
                    .iface
                    .as_ref()
                    .is_some_and(|iface| egress.contains(&iface.ifindex))
        };
        fault.covers(felt) && (felt.iface.is_some() || felt.remote.is_none_or(over_it))
    }

    fn carries(&self, fault: &Scope, felt: &Scope) -> bool {
        let hardware = |link: &Link| link.kind.is_none() && !link.loopback;
        let is_hardware = self.state(fault).is_some_and(|state| {
            state
                .links
                .iter()
                .any(|link| hardware(link) && Some(&link.iface) == fault.iface.as_ref())
        });
        is_hardware
            && self
                .state(felt)
                .is_some_and(|state| !state.links.iter().any(hardware))
    }

    /// A neighbour that is no longer there is felt by everybody behind it: peers over its interface that are not on its network.
    fn gateway_covers(&self, fault: &Scope, felt: &Scope) -> bool {
        let (Some(gateway), Some(peer), Some(iface)) = (fault.remote, felt.remote, &fault.iface)
        else {
            return false;
        };
        let Some(state) = self.state(felt).filter(|_| fault.netns == felt.netns) else {
            return false;
        };
        let behind = self.routes.egress(state, peer).contains(&iface.ifindex);
        behind && gateway.is_ipv4() == peer.is_ipv4() && !self.same_network(state, gateway, peer)
    }

    /// A packet filter is felt by those whose packets it stopped on their way through its namespace.
    fn filter_covers(&self, fault: &Scope, felt: &Scope) -> bool {
        let (Some(netns), Some(peer), Some(port)) = (&fault.netns, felt.remote, felt.port) else {
            return false;
        };
        let end = SocketAddr::new(peer.to_canonical(), port);
        self.stopped.has(netns, end)
    }

    /// An overflowing listener is felt by those who connect to it, also from other namespaces of this host.
    fn listener_covers(&self, fault: &Scope, felt: &Scope) -> bool {
        let (Some(local), Some(peer)) = (fault.local, felt.remote) else {
            return false;
        };
        if fault.port != felt.port {
            return false;
        }
        let here = |state| peer.is_loopback() || self.same_network(state, peer, peer);
        local == peer || local.is_unspecified() && self.state(fault).is_some_and(here)
    }

    /// Whether one network of the namespace, the default route excepted, has both addresses.
    fn same_network(&self, state: &NetnsState, a: IpAddr, b: IpAddr) -> bool {
        let routes = state.routes.iter().chain(self.routes.lost(&state.netns));
        let covers = super::history::covers;
        routes
            .filter(|route| route.destination.is_some())
            .any(|route| covers(route, a) && covers(route, b))
    }

    fn state(&self, scope: &Scope) -> Option<&'a NetnsState> {
        let netns: &Netns = scope.netns.as_ref()?;
        self.window
            .now
            .namespaces
            .iter()
            .find(|state| state.netns == *netns)
    }
}
