//! Packets go round between routers until their hop limit runs out.

use core::net::IpAddr;
use std::collections::BTreeMap;

use osi_common::layer::Layer;

use super::super::text::{inside, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l3_network::hops::{HOPS_EXHAUSTED, is_exhausted};
use crate::layer::l3_network::icmp::ICMP_HOPS_EXHAUSTED;
use crate::layer::l3_network::routes::{IP_FORWARDED, IP6_FORWARDED};
use crate::scope::Scope;
use crate::snapshot::NetnsState;
use crate::verdict::facts::{by_destination, of_all};
use crate::verdict::history::gateway;

mod sender;

pub(in crate::verdict) static ROUTING_LOOP: Cause = Cause {
    id: "routing_loop",
    layer: Layer::L3,
    class: CauseClass::Config,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "Routers send packets for a destination to each other until no hop is left.",
    explained_by: &[],
    suspects: &[],
    reads: &[&HOPS_EXHAUSTED, &ICMP_HOPS_EXHAUSTED],
    thresholds: &[
        Threshold::of("packets", 3.0),
        Threshold::of("flows", 20.0),
        // Some tools that trace a route send three probes of one flow to each router.
        Threshold::of("one_flow", 4.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        found.extend(sighting(facts, state));
        sender::detect(facts, state, found);
    }
}

/// The destination that most of the examples were for, and how many of them leave where they came in.
struct Towards {
    address: IpAddr,
    /// That ended here, as far as the examples tell; those without ports are none.
    packets: u64,
    /// The most examples of one flow.
    one_flow: usize,
    examples: usize,
    turned_back: usize,
    through: Option<IpAddr>,
}

fn sighting(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let expired = facts.count_in(&HOPS_EXHAUSTED, &state.netns);
    if (expired as f64) < facts.limit("packets") {
        return None;
    }
    let forwarded = [&IP_FORWARDED, &IP6_FORWARDED]
        .iter()
        .map(|signal| facts.count_in(signal, &state.netns))
        .sum::<u64>();
    let towards = towards(facts, state, expired)?;
    // Whoever traces a route sends each probe with other ports, or three alike, or echo requests, which have none; and what a
    // router with one interface hands on is traced through it as well.
    let traced = (towards.one_flow as f64) < facts.limit("one_flow")
        && (towards.packets as f64) < facts.limit("flows");
    if traced {
        return None;
    }
    // What leaves where it came in was sent here by mistake: a loop.
    let turns_back = towards.turned_back * 2 > towards.examples;
    let (onset, confidence, severity) = if turns_back {
        (Onset::Hard, Confidence::Certain, Severity::Critical)
    } else {
        (Onset::Sustained, Confidence::Possible, Severity::Warn)
    };
    let mut evidence = vec![
        Evidence::new(
            HOPS_EXHAUSTED.id,
            expired as f64,
            "packets",
            HOPS_EXHAUSTED.help,
        ),
        Evidence::new(
            IP_FORWARDED.id,
            forwarded as f64,
            "packets",
            "forwarded in the same time",
        ),
    ];
    if turns_back {
        let why = format!(
            "of {} examples leave through the interface they came in by",
            towards.examples
        );
        evidence.push(Evidence::new(
            "turned_back",
            towards.turned_back as f64,
            "packets",
            why,
        ));
    }
    let with = towards
        .through
        .filter(|_| turns_back)
        .map_or_else(String::new, |router| format!(" with {router}"));
    let scope = Scope::peer(&state.netns, towards.address, None);
    Some(Sighting {
        onset,
        confidence,
        severity,
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: share(expired, forwarded),
            peers: 1,
        },
        summary: format!(
            "Packets to {} go round in a loop{with}{}: {expired} ran out of hops.",
            towards.address,
            place(&scope)
        ),
        scope,
    })
}

fn towards(facts: &Facts, state: &NetnsState, expired: u64) -> Option<Towards> {
    let mut samples = facts.dropped("", &state.netns);
    samples.retain(|seen| is_exhausted(&seen.reason, &seen.function));
    let all = samples.len();
    samples.retain(|seen| seen.remote_port != 0);
    let (address, seen) = by_destination(&samples)
        .into_iter()
        .max_by_key(|(_, seen)| seen.len())?;
    let routes = &facts.history.routes;
    let out = routes.egress(state, address);
    let mut flows: BTreeMap<_, usize> = BTreeMap::new();
    for seen in &seen {
        let flow = (seen.protocol, seen.local, seen.local_port, seen.remote_port);
        *flows.entry(flow).or_default() += 1;
    }
    Some(Towards {
        address,
        packets: of_all(expired, seen.len(), all),
        one_flow: flows.into_values().max().unwrap_or(0),
        examples: seen.len(),
        turned_back: seen
            .iter()
            .filter(|seen| out.contains(&seen.ifindex))
            .count(),
        through: gateway(state, address),
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let ended = finding.evidence.first().map_or(0.0, |row| row.value);
    let address = finding
        .scope
        .remote
        .map_or_else(String::new, |address| address.to_string());
    if finding
        .evidence
        .first()
        .is_some_and(|row| row.signal == ICMP_HOPS_EXHAUSTED.id)
    {
        return vec![Advice {
            text: format!(
                "{ended} packets a window to {address} end between routers on the way: tell whoever runs them, with the addresses above."
            ),
            confirm: inside(&finding.scope, &format!("ip route get {address}")),
            change: format!(
                "see where they turn back with: {}",
                inside(&finding.scope, &format!("traceroute -n {address}"))
            ),
            trade_off: "A larger hop limit only lets packets go round more often.".to_owned(),
        }];
    }
    vec![Advice {
        text: format!(
            "{ended} packets a window to {address} come back until no hop is left: this router and the next one send them to each other."
        ),
        confirm: inside(&finding.scope, &format!("ip route get {address}")),
        change: inside(
            &finding.scope,
            &format!("ip route add unreachable {address}"),
        ),
        trade_off: "A route that refuses ends the loop and tells the senders; the right route of one of the two routers mends it."
            .to_owned(),
    }]
}
