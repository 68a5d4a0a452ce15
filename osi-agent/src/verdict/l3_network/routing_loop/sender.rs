//! The loop as seen by whoever sends into it: a router answers again and again that no hop was left.

use core::net::IpAddr;
use std::collections::BTreeSet;

use super::super::super::history::{Messages, gateway};
use super::super::super::text::place;
use super::super::super::{Confidence, Evidence, Facts, Impact, Onset, Severity, Sighting};
use super::ROUTING_LOOP;
use crate::layer::l3_network::icmp::{ICMP_HOPS_EXHAUSTED, is_expired};
use crate::scope::Scope;
use crate::snapshot::NetnsState;
use crate::verdict::facts::{by_destination, of_all};

/// In a loop packets with the same hop limit end at the same router; two kinds of packets may end at its two sides.
const ROUTERS: usize = 2;

pub(super) fn detect(facts: &Facts, state: &NetnsState, found: &mut Vec<Sighting>) {
    let netns = &state.netns;
    let taken = facts.count_in(&ICMP_HOPS_EXHAUSTED, netns);
    if taken == 0 {
        return;
    }
    let samples = facts.answered(netns, is_expired);
    let now = by_destination(&samples);
    for (destination, messages) in facts.history.expired.within(netns) {
        if let Some(seen) = now.get(&destination) {
            let packets = of_all(taken, seen.len(), samples.len());
            found.extend(sighting(facts, state, destination, &messages, packets));
        }
    }
}

fn sighting(
    facts: &Facts,
    state: &NetnsState,
    destination: IpAddr,
    messages: &Messages,
    packets: u64,
) -> Option<Sighting> {
    let routers: BTreeSet<IpAddr> = messages.keys().map(|about| about.sender).collect();
    let netns = &state.netns;
    let scope = Scope::peer(netns, destination, None);
    let known = facts.history.ledger.is_open(ROUTING_LOOP.id, &scope);
    let connects = facts.history.peers.towards(netns, destination);
    let no_connect = connects.unreachable as f64 >= facts.limit("packets")
        && connects.connected + connects.refused == 0;
    let one_flow = of_one_flow(messages) as f64 >= facts.limit("one_flow");
    if routers.is_empty() || routers.len() > ROUTERS || !(known || no_connect || one_flow) {
        return None;
    }
    let named: Vec<_> = routers.iter().map(ToString::to_string).collect();
    let named = named.join(" and ");
    let mut evidence = vec![Evidence::new(
        ICMP_HOPS_EXHAUSTED.id,
        packets as f64,
        "packets",
        format!("ran out of hops, by the messages of {named}"),
    )];
    if no_connect {
        evidence.push(Evidence::new(
            "connect_failures",
            connects.unreachable as f64,
            "connections",
            "connects to it in the last windows ended so, and none got through",
        ));
    }
    // Where the first router says so, the packets may have begun with one hop on purpose, as those of eBGP do.
    let next_hop = gateway(state, destination);
    let is_far = routers.iter().any(|router| Some(*router) != next_hop);
    let (confidence, severity, or_else) = if is_far {
        (Confidence::Likely, Severity::Critical, "")
    } else {
        let few = ", or are sent with too few hops";
        (Confidence::Possible, Severity::Warn, few)
    };
    let attempts = facts.history.peers.attempts_in(netns);
    Some(Sighting {
        onset: Onset::Hard,
        confidence,
        severity,
        evidence,
        impact: Impact {
            connections: connects.unreachable,
            share_ratio: connects.unreachable as f64 / attempts.max(1) as f64,
            peers: 1,
        },
        summary: format!(
            "Packets to {destination}{} go round in a loop{or_else}: {packets} ran out of hops, by the messages of {named}.",
            place(&scope)
        ),
        scope,
    })
}

/// Most messages of one router about packets of one flow. Whoever traces a route tells his probes apart by their ports, or
/// keeps them and hears a few times from each router, or sends echo requests, which have none.
fn of_one_flow(messages: &Messages) -> u64 {
    let with_port = messages.iter().filter(|(about, _)| about.remote_port != 0);
    with_port.map(|(_, times)| *times).max().unwrap_or(0)
}
