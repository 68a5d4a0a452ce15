//! Who wanted the packets: a filter that drops what nobody wants does what it is there for.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;

use super::super::super::facts::Seen;
use super::super::super::history::{Inbound, Loss, TCP, is_passing};
use super::super::super::stuck::{Stuck, ends};
use super::super::super::text::{percent, share};
use super::super::super::{Confidence, Evidence, Facts, Impact, Onset, Severity};
use crate::layer::address;
use crate::layer::l3_network::routes::{IP_RECEIVED, IP6_RECEIVED};
use crate::snapshot::{Mib, NetnsState};

/// The evidence of what was dropped on its way to listeners.
pub(super) const TO_LISTENERS: &str = "dropped_to_listeners";

/// IP protocol number of UDP.
const UDP: u32 = 17;

/// What a filter dropped in a namespace in the window.
pub(super) struct Dropped<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) state: &'a NetnsState,
    pub(super) packets: u64,
    pub(super) samples: &'a [Seen],
}

/// Whom it hurts, and how sure that is.
pub(super) struct Hurt {
    pub(super) onset: Onset,
    pub(super) confidence: Confidence,
    pub(super) severity: Severity,
    pub(super) evidence: Vec<Evidence>,
    pub(super) impact: Impact,
    /// End of the sentence: whose packets.
    pub(super) whose: String,
}

impl Dropped<'_> {
    /// The victim that is surest: an attempt of our own, a query, a client of a listener, a connection, somebody beyond this router.
    pub(super) fn hurt(&self) -> Option<Hurt> {
        let local = self
            .own()
            .or_else(|| self.queries())
            .or_else(|| self.listener())
            .or_else(|| self.established());
        local.or_else(|| self.forwarded())
    }

    /// The part of all dropped packets that these samples stand for.
    fn packets_like(&self, samples: usize) -> u64 {
        let all = self.samples.len().max(1) as f64;
        (self.packets as f64 * samples as f64 / all).round() as u64
    }

    /// Peers that somebody on this host tries to reach in vain.
    fn own(&self) -> Option<Hurt> {
        let stuck = Stuck::among(self.facts, &self.state.netns, self.samples);
        let (first, _) = stuck.peers.first_key_value()?;
        let attempted: u64 = stuck.peers.values().sum();
        let peers = &self.facts.history.peers;
        let attempts = peers.attempts_in(&self.state.netns).max(attempted).max(1);
        Some(Hurt {
            onset: if stuck.proven {
                Onset::Hard
            } else {
                Onset::Statistical
            },
            confidence: if stuck.of_this && stuck.proven {
                Confidence::Certain
            } else {
                Confidence::Likely
            },
            severity: Severity::Critical,
            evidence: stuck.evidence(),
            impact: Impact {
                connections: attempted,
                share_ratio: attempted as f64 / attempts as f64,
                peers: stuck.peers.len() as u64,
            },
            whose: format!(", of connections to {first}"),
        })
    }

    /// Queries to a resolver that has been asked before, or its answers. What is dropped on the way out never leaves, and what
    /// is dropped on the way in has arrived: no other cause sees that anything is missing.
    fn queries(&self) -> Option<Hurt> {
        let keys = self.facts.window.now.kernel.resolvers.keys();
        let of_this = keys.filter(|key| key.netns == self.state.netns.inode);
        let resolvers: BTreeSet<(IpAddr, u16)> = of_this
            .map(|key| (address(key.family, &key.address), key.port))
            .collect();
        let end = |seen: &Seen| {
            let ends = [
                (seen.remote?.to_canonical(), seen.remote_port),
                (seen.local?.to_canonical(), seen.local_port),
            ];
            ends.into_iter().find(|end| resolvers.contains(end))
        };
        let of_queries = |seen: &&Seen| seen.protocol == UDP && end(seen).is_some();
        let samples: Vec<_> = self.samples.iter().filter(of_queries).collect();
        let (whom, port) = end(samples.last()?)?;
        let dropped = self.packets_like(samples.len());
        if dropped as f64 <= self.facts.limit("packets") {
            return None;
        }
        Some(Hurt {
            onset: Onset::Statistical,
            confidence: Confidence::Likely,
            severity: Severity::Critical,
            evidence: vec![Evidence::new(
                "dropped_queries",
                dropped as f64,
                "packets",
                "to or from a resolver that this host asks",
            )],
            impact: Impact {
                connections: dropped,
                share_ratio: 0.0,
                peers: 1,
            },
            whose: format!(", of DNS with {}", SocketAddr::new(whom, port)),
        })
    }

    /// A client that comes again and again to a port where somebody listens. One packet of each of many sources is the
    /// background of the internet, which an allow list is there for.
    ///
    /// Somebody who is banned comes again, too, as long as others get in: a ban is for one source, a wrong rule for all. So
    /// it is surest where several come again and nobody gets in.
    fn listener(&self) -> Option<Hurt> {
        let history = self.facts.history;
        let inbound = history
            .filtered
            .inbound(history.windows, &self.state.netns)?;
        let lost = share(inbound.dropped, inbound.accepted);
        let Inbound {
            sources,
            dropped,
            accepted,
        } = &inbound;
        let repeats = |count: u64| count as f64 > self.facts.limit("packets");
        let samples: Vec<_> = sources
            .iter()
            .filter(|(_, count)| repeats(**count))
            .collect();
        let ((port, source), _) = samples.iter().max_by_key(|(_, count)| **count)?;
        if lost <= self.facts.limit("listener_ratio") {
            return None;
        }
        let clients: BTreeSet<IpAddr> = samples
            .iter()
            .map(|((_, source), _)| source.to_canonical())
            .collect();
        let (onset, confidence, severity) = match (*accepted > 0, clients.len() > 1) {
            (false, true) => (Onset::Hard, Confidence::Certain, Severity::Critical),
            (false, false) | (true, true) => (Onset::Sustained, Confidence::Likely, Severity::Warn),
            (true, false) => (Onset::Sustained, Confidence::Possible, Severity::Warn),
        };
        Some(Hurt {
            onset,
            confidence,
            severity,
            evidence: vec![
                Evidence::new(
                    TO_LISTENERS,
                    *dropped as f64,
                    "packets",
                    format!(
                        "to ports that are listened on, in the last windows; port {port} from {source} for one"
                    ),
                ),
                Evidence::new(
                    "accepted",
                    *accepted as f64,
                    "connections",
                    "accepted meanwhile",
                ),
            ],
            impact: Impact {
                connections: 0,
                share_ratio: lost,
                peers: clients.len() as u64,
            },
            whose: format!(", of clients of port {port}, {source} for one"),
        })
    }

    /// A packet that belongs to a socket of this namespace was dropped, and payload had to be sent again.
    ///
    /// Clients of listeners may have been banned in the middle of their connections, see [`Self::listener`].
    fn established(&self) -> Option<Hurt> {
        let of_socket = |seen: &Seen| seen.ifindex == 0 || seen.established;
        let owned = |seen: &&Seen| seen.protocol == TCP && of_socket(seen) && is_unicast(seen);
        let samples: Vec<_> = self.samples.iter().filter(owned).collect();
        let last = samples.last()?;
        let loss = Loss::of(self.facts.window, &self.state.netns);
        let dropped = self.packets_like(samples.len());
        let lost = share(dropped.min(loss.again), loss.sent);
        let many = dropped as f64 > self.facts.limit("packets") && lost > self.facts.limit("ratio");
        let much = lost > self.facts.limit("hurt_ratio");
        if loss.again == 0 || !many && !much {
            return None;
        }
        let clients: Option<BTreeSet<_>> = samples.iter().map(|seen| self.client(seen)).collect();
        let others = self
            .facts
            .window
            .mib_in(&self.state.netns, Mib::TcpPassiveOpens);
        let (onset, confidence, severity) = match clients {
            Some(clients) if clients.len() == 1 => {
                (Onset::Sustained, Confidence::Possible, Severity::Warn)
            }
            Some(_) if others > 0 => (Onset::Sustained, Confidence::Likely, Severity::Warn),
            Some(_) | None if much => (Onset::Statistical, Confidence::Likely, Severity::Critical),
            Some(_) | None => (Onset::Statistical, Confidence::Likely, Severity::Warn),
        };
        Some(Hurt {
            onset,
            confidence,
            severity,
            evidence: vec![Evidence::new(
                "retransmits",
                loss.again as f64,
                "segments",
                "payload sent again in the same window",
            )],
            impact: Impact {
                connections: 0,
                share_ratio: lost,
                peers: 0,
            },
            whose: format!(", of its own connections{}", flow(last)),
        })
    }

    /// Who came to us, of the two ends of a packet of our own connection; `None` where we went to somebody.
    fn client(&self, seen: &Seen) -> Option<IpAddr> {
        let (ours, other) = if seen.ifindex == 0 {
            (seen.local_port, seen.remote)
        } else {
            (seen.remote_port, seen.local)
        };
        let mut listeners = self.state.listeners.iter();
        let is_service = listeners.any(|listener| listener.port == ours);
        other.filter(|_| is_service)
    }

    /// Packets that a router did not hand on. Whether anybody wanted them is not known here.
    fn forwarded(&self) -> Option<Hurt> {
        let routes = &self.facts.history.routes;
        let passing = |seen: &&Seen| is_unicast(seen) && is_passing(routes, self.state, seen);
        let samples: Vec<_> = self.samples.iter().filter(passing).collect();
        let last = samples.last()?;
        let dropped = self.packets_like(samples.len());
        let netns = &self.state.netns;
        let received =
            self.facts.count_in(&IP_RECEIVED, netns) + self.facts.count_in(&IP6_RECEIVED, netns);
        let lost = dropped as f64 / received.max(dropped).max(1) as f64;
        if dropped as f64 <= self.facts.limit("packets") || lost <= self.facts.limit("hurt_ratio") {
            return None;
        }
        Some(Hurt {
            onset: Onset::Sustained,
            confidence: Confidence::Possible,
            severity: Severity::Warn,
            evidence: vec![Evidence::new(
                "dropped_in_passing",
                dropped as f64,
                "packets",
                format!(
                    "of other hosts' traffic: {} of the packets received for anybody",
                    percent(lost)
                ),
            )],
            impact: Impact {
                connections: 0,
                share_ratio: lost,
                peers: 0,
            },
            whose: format!(" on their way through{}", flow(last)),
        })
    }
}

/// Whether TCP or UDP to one host: what goes to all of them is wanted by none in particular.
fn is_unicast(seen: &Seen) -> bool {
    match (seen.remote, seen.protocol) {
        (Some(IpAddr::V4(to)), TCP) => !to.is_multicast() && !to.is_broadcast(),
        // The masks of networks are not known here; hardly a host has this number.
        (Some(IpAddr::V4(to)), UDP) => {
            !to.is_multicast() && !to.is_link_local() && to.octets()[3] != 255
        }
        (Some(IpAddr::V6(to)), TCP | UDP) => !to.is_multicast() && !to.is_unicast_link_local(),
        (Some(_) | None, _) => false,
    }
}

fn flow(seen: &Seen) -> String {
    let [Some(from), Some(to)] = ends(seen) else {
        return String::new();
    };
    format!(", for example from {from} to {to}")
}
