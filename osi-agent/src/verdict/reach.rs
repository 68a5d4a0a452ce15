//! Whether a fault in one scope can be felt in another.

use core::net::{IpAddr, SocketAddr};

use osi_common::layer::Layer;

use super::history::{Routes, Stopped};
use super::l3_network::{
    ipv6_broken::IPV6_BROKEN,
    packet_filtered::{PACKET_FILTERED, is_of_clients},
};
use super::l4_transport::{
    accept_queue_overflow::ACCEPT_QUEUE_OVERFLOW, nat_ports_exhausted::NAT_PORTS_EXHAUSTED,
    syn_queue_overflow::SYN_QUEUE_OVERFLOW,
};
use super::l7_application::dependency_slow::DEPENDENCY_SLOW;
use super::rule::Entry;
use super::{Cause, CauseClass, Confidence, Onset, Severity, owner, pairs};
use crate::layer::Window;
use crate::layer::l7_application::exchange::{Waits, depended, served};
use crate::scope::{Netns, Proto, Scope, ScopeKind};
use crate::snapshot::{Link, NetnsState};

/// Windows after which what an application bears is no news to it.
const SETTLED: u64 = 60;

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

    /// Whether one finding can be felt as the other.
    ///
    /// A table or queue of L4 that is nearly full and refused nobody is felt by nobody. What a remote peer does is not this
    /// host's doing: the host's own memory, which is TCP's, is felt at peers that are this host.
    pub(super) fn explains(&self, fault: &Entry, felt: &Entry) -> bool {
        let is_capacity =
            fault.cause.layer == Layer::L4 && fault.cause.class == CauseClass::Capacity;
        if is_capacity && fault.cause.onset == Onset::Hard && fault.finding.impact.connections == 0
        {
            return false;
        }
        // Descriptors that are nearly used up refuse nobody, either; that none was left is what makes it critical.
        let is_nearly_full = fault.cause.layer == Layer::L5
            && fault.cause.class == CauseClass::Capacity
            && fault.finding.severity < Severity::Critical;
        if is_nearly_full {
            return false;
        }
        let (at, felt_at) = (&fault.finding.scope, &felt.finding.scope);
        let is_hosts = is_capacity && at.kind == ScopeKind::Host;
        if is_hosts && felt_at.proto == Some(Proto::Udp) {
            return false;
        }
        if is_hosts
            && felt.cause.class == CauseClass::Peer
            && !felt_at.remote.is_some_and(|peer| self.is_own(peer))
        {
            return false;
        }
        let told = pairs::explains(self.window, fault, felt, |peer| self.is_own(peer));
        if let Some(told) = told {
            return told;
        }
        let was_explained = felt.finding.explained_by.contains(&fault.finding.id);
        let is_of_one = matches!(felt_at.kind, ScopeKind::Peer | ScopeKind::Resolver);
        let is_general = at.kind == ScopeKind::Netns && is_of_one;
        if is_general && !was_explained && !self.concerns(fault, felt_at) {
            return false;
        }
        // Answers that waited for a peer may end in the window after: what showed that they did was seen before.
        let is_quiet = fault.finding.quiet.is_some() || felt.finding.quiet.is_some();
        let is_peers = at.kind == ScopeKind::Peer && felt_at.kind == ScopeKind::Listener;
        if is_peers && !was_explained && self.is_unconcerned(fault, felt) {
            return false;
        }
        is_peers && is_quiet && was_explained || self.covers(at, felt_at)
    }

    /// Whether what is told of a namespace as a whole can be why one peer is silent.
    fn concerns(&self, fault: &Entry, felt: &Scope) -> bool {
        let Some(peer) = felt.remote else {
            return true;
        };
        let is = |cause: &Cause| fault.cause.id == cause.id;
        if is(&ACCEPT_QUEUE_OVERFLOW) || is(&SYN_QUEUE_OVERFLOW) {
            // Whose queue it is may not be known; it is one of this host's.
            self.is_own(peer)
        } else if is(&IPV6_BROKEN) {
            peer.is_ipv6()
        } else if is(&PACKET_FILTERED) && is_of_clients(&fault.finding) {
            // Clients that are kept out are not those whom this host asks.
            self.filter_covers(&fault.finding.scope, felt)
        } else {
            // Ports of a translation that clash now and then take few connections.
            !is(&NAT_PORTS_EXHAUSTED) || fault.finding.confidence > Confidence::Possible
        }
    }

    /// Whether an application has nothing to do with what a peer does: nobody asks one that was slow, or one that fails had been
    /// failing for long when its trouble began. How slow a peer is may change; there both ends' times tell.
    fn is_unconcerned(&self, fault: &Entry, felt: &Entry) -> bool {
        let is_asked = || {
            let asked = depended(self.window);
            asked.iter().any(|row| row.0 == fault.finding.scope)
        };
        if fault.cause.id == DEPENDENCY_SLOW.id {
            !is_asked()
        } else {
            felt.opened > fault.opened + SETTLED
        }
    }

    /// Whether a fault in `fault` can be felt in `felt`.
    fn covers(&self, fault: &Scope, felt: &Scope) -> bool {
        match fault.kind {
            ScopeKind::Iface if fault.local.is_none() => self.link_covers(fault, felt),
            ScopeKind::Peer if fault.iface.is_some() => {
                fault.covers(felt) || self.gateway_covers(fault, felt)
            }
            ScopeKind::Process => fault.covers(felt) || self.process_covers(fault, felt),
            ScopeKind::Peer if felt.kind == ScopeKind::Listener => {
                self.dependency_covers(fault, felt)
            }
            ScopeKind::Listener => fault.covers(felt) || self.listener_covers(fault, felt),
            ScopeKind::Netns => fault.covers(felt) || self.filter_covers(fault, felt),
            // Which of its applications asks there is not known.
            ScopeKind::Pool | ScopeKind::Resolver if felt.kind == ScopeKind::Listener => {
                fault.netns == felt.netns
            }
            ScopeKind::Host
            | ScopeKind::Iface
            | ScopeKind::Peer
            | ScopeKind::Pool
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

    /// A process is felt at the listeners that it opened or holds, and where nobody knows which listener of a namespace it is.
    fn process_covers(&self, fault: &Scope, felt: &Scope) -> bool {
        let Some(process) = &fault.process else {
            return false;
        };
        let owns = |scope: &Scope| {
            owner::of(self.window, scope).is_some_and(|owner| {
                owner.held_by.contains(process) || owner.opened_by.as_ref() == Some(process)
            })
        };
        if felt.kind != ScopeKind::Netns {
            return owns(felt);
        }
        let state = self.state(felt);
        state.is_some_and(|state| {
            let mut listeners = state.listeners.iter();
            listeners.any(|one| owns(&Scope::listener(&state.netns, one.address, one.port)))
        })
    }

    /// An overflowing listener is felt by those who connect to it, also from other namespaces of this host; who serves it is felt at
    /// other sockets that it holds, and where nobody knows which listener of a namespace it is.
    fn listener_covers(&self, fault: &Scope, felt: &Scope) -> bool {
        if felt.kind == ScopeKind::Netns {
            let same_proto = felt.proto.is_none() || felt.proto == fault.proto;
            return fault.netns == felt.netns && same_proto;
        }
        if felt.kind == ScopeKind::Listener {
            return felt.proto != fault.proto && self.server_holds(fault, felt);
        }
        let (Some(local), Some(peer)) = (fault.local, felt.remote) else {
            return false;
        };
        if fault.port != felt.port {
            return false;
        }
        // The loopback addresses are each namespace's own.
        if peer.is_loopback() {
            return fault.netns == felt.netns && (local == peer || local.is_unspecified());
        }
        local == peer
            || local.is_unspecified() && self.state(fault).is_some_and(|state| owns(state, peer))
    }

    /// Whether a process that serves a listener holds another socket. One that only holds the listener may have opened it for others.
    fn server_holds(&self, listener: &Scope, socket: &Scope) -> bool {
        let owner = |scope| owner::of(self.window, scope);
        let (Some(of_listener), Some(of_socket)) = (owner(listener), owner(socket)) else {
            return false;
        };
        let served_by = &of_listener.served_by;
        let only = of_listener.only().filter(|_| served_by.is_empty());
        let mut servers = served_by.iter().chain(only);
        servers.any(|process| of_socket.held_by.contains(process))
    }

    /// Whether an address is one of this host's, in whatever namespace.
    fn is_own(&self, address: IpAddr) -> bool {
        let mut states = self.window.now.namespaces.iter();
        address.is_loopback() || states.any(|state| owns(state, address))
    }

    /// A peer is felt by the clients of an application that waits for it. Which application asks whom is not known: it is one of
    /// the same namespace whose answers take about as long as the peer's do, or any while the peer is silent.
    fn dependency_covers(&self, fault: &Scope, felt: &Scope) -> bool {
        // Who is asked is not kept waiting by itself. Several addresses may have the port.
        let is_own_port = felt.local.is_none()
            && felt.port == fault.port
            && fault.remote.is_some_and(|peer| self.is_own(peer));
        if fault.netns != felt.netns || is_own_port || self.listener_covers(felt, fault) {
            return false;
        }
        let asked = depended(self.window)
            .into_iter()
            .find(|row| row.0 == *fault);
        let answering = served(self.window)
            .into_iter()
            .find(|row| row.scope == *felt);
        // The slowest of both: who asks several peers waits for the slow one in a part of its answers only.
        let slowest = |waits: &Waits| waits.times.quantile_ns(9_900);
        let asked_ns = asked.and_then(|(_, waits)| slowest(&waits));
        let answer_ns = answering.and_then(|row| slowest(&row.response));
        match (asked_ns, answer_ns) {
            // Who answers much faster than the peer did not wait for it.
            (Some(asked_ns), Some(answer_ns)) => {
                asked_ns.saturating_mul(2) >= answer_ns && answer_ns.saturating_mul(2) >= asked_ns
            }
            (None, _) => true,
            (Some(_), None) => false,
        }
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

fn owns(state: &NetnsState, address: IpAddr) -> bool {
    state.addresses.iter().any(|own| own.address == address)
}
