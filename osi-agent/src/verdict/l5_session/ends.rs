//! Connections that broke off in a window, by peer and by listening port.

use osi_common::listener::ListenerKey;

use super::super::text::{local, remote};
use super::super::{Evidence, Facts};
use crate::layer::l4_transport::handshake::{ACCEPTED, CONNECTED};
use crate::layer::l7_application::exchange::listener;
use crate::layer::{ListenerDelta, PeerDelta};
use crate::scope::{Netns, Scope};

/// Those of one peer or port.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) netns: Netns,
    pub(super) scope: Scope,
    /// Whether clients made them to this host.
    pub(super) of_clients: bool,
    /// How many broke off.
    pub(super) count: u64,
    /// How many were begun.
    begun: u64,
}

impl Broken {
    /// Share of those that broke off. How many ended in peace is not known by peer; where connections are short, that is as
    /// many as begin, and where they are long, none.
    pub(super) fn ratio(&self) -> f64 {
        self.count as f64 / self.begun.max(self.count).max(1) as f64
    }

    /// `10.0.0.2:443`, or `Clients of 0.0.0.0:80`.
    pub(super) fn who(&self) -> String {
        match (self.of_clients, self.scope.local, self.scope.port) {
            (false, ..) => remote(&self.scope),
            (true, Some(_), _) => format!("Clients of {}", local(&self.scope)),
            (true, None, port) => format!("Clients of port {}", port.unwrap_or(0)),
        }
    }

    pub(super) fn begun(&self) -> Evidence {
        let (signal, why) = if self.of_clients {
            (
                &ACCEPTED,
                "handshakes of clients that completed in the window",
            )
        } else {
            (&CONNECTED, "connects to it that succeeded in the window")
        };
        Evidence::new(signal.id, self.begun as f64, "connections", why)
    }
}

/// Every peer and port of which the functions count more than the limit `many` of the cause at hand, and more than its `ratio` of
/// all: at a listening port its `ratio_of_clients`, as clients break off by themselves, too.
pub(super) fn broken(
    facts: &Facts,
    many: &str,
    of_peer: impl Fn(&PeerDelta) -> u64,
    of_listener: impl Fn(&ListenerDelta) -> u64,
) -> Vec<Broken> {
    let peers = facts.window.peers().into_iter().map(|peer| Broken {
        count: of_peer(&peer),
        begun: peer.delta.connected,
        of_clients: false,
        scope: Scope::peer(&peer.netns, peer.address, Some(peer.port)),
        netns: peer.netns,
    });
    let listeners = facts.window.listeners().into_iter().map(|listener| Broken {
        count: of_listener(&listener),
        begun: listener.times.count(),
        of_clients: true,
        scope: listener_at(facts, &listener),
        netns: listener.netns,
    });
    let too_many = |end: &Broken| {
        let ratio = if end.of_clients {
            "ratio_of_clients"
        } else {
            "ratio"
        };
        end.count as f64 > facts.limit(many) && end.ratio() > facts.limit(ratio)
    };
    peers.chain(listeners).filter(too_many).collect()
}

/// The listener on a port, or the port where none listens any more, or several do.
fn listener_at(facts: &Facts, delta: &ListenerDelta) -> Scope {
    let key = ListenerKey {
        netns: delta.netns.inode,
        port: delta.port.into(),
    };
    listener(facts.window, key).unwrap_or_else(|| Scope::local_port(&delta.netns, delta.port))
}
