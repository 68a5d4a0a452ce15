//! An address on the local network does not answer ARP or neighbour discovery.

use core::net::IpAddr;
use std::collections::BTreeMap;

use osi_common::failure::errno;
use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use super::super::l1_physical::link_down::LINK_DOWN;
use super::super::text::{iface, inside, place, quoted};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::datapath_program_drops::DATAPATH_PROGRAM_DROPS;
use crate::layer::l2_data_link::neighbour::{NEIGHBOUR_FAILED, NEIGHBOURS_INCOMPLETE, is_fresh};
use crate::scope::{Netns, Scope};
use crate::snapshot::{Neighbour, NetnsState};

pub(in crate::verdict) static NEIGHBOR_UNREACHABLE: Cause = Cause {
    id: "neighbor_unreachable",
    layer: Layer::L2,
    class: CauseClass::Peer,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "An address on the local network does not say who has it, so packets for it are thrown away.",
    explained_by: &[&[&LINK_DOWN, &DATAPATH_PROGRAM_DROPS]],
    suspects: &[],
    reads: &[&NEIGHBOUR_FAILED, &NEIGHBOURS_INCOMPLETE],
    thresholds: &[
        Threshold::of("incomplete_ns", 1e9),
        Threshold::of("used_ns", 10e9),
        Threshold::of("sweep_addresses", 16.0),
    ],
    detect,
    advise,
};

/// `EHOSTUNREACH`: what a connect gets when its neighbour does not answer.
const EHOSTUNREACH: u32 = 113;

/// The drop reason of packets that waited for a neighbour in vain.
const REASON: &str = "NEIGH_FAILED";

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        detect_in(facts, state, found);
    }
}

fn detect_in(facts: &Facts, state: &NetnsState, found: &mut Vec<Sighting>) {
    let victims = victims(facts, &state.netns);
    let dropped = dropped(facts, &state.netns);
    let mut here: Vec<_> = state
        .neighbours
        .unresolved
        .iter()
        .filter_map(|neighbour| sighting(facts, state, neighbour, &victims, dropped))
        .collect();
    here.sort_by(|a, b| (b.impact.connections, &a.scope).cmp(&(a.impact.connections, &b.scope)));
    // Somebody asks for a whole network, or a whole network is gone: the addresses nobody connects to are not a finding each.
    if here.len() as f64 > facts.limit("sweep_addresses") {
        let (hurt, silent): (Vec<_>, Vec<_>) = here
            .into_iter()
            .partition(|sighting| sighting.impact.connections > 0);
        let open = |sighting: &Sighting| {
            facts
                .history
                .ledger
                .is_open(NEIGHBOR_UNREACHABLE.id, &sighting.scope)
        };
        let (known, new): (Vec<_>, Vec<_>) = silent.into_iter().partition(open);
        found.extend(swept(&state.netns, &new));
        here = hurt
            .into_iter()
            .take(facts.limit("sweep_addresses") as usize)
            .chain(known)
            .collect();
    }
    found.extend(here);
}

fn sighting(
    facts: &Facts,
    state: &NetnsState,
    neighbour: &Neighbour,
    victims: &BTreeMap<IpAddr, u64>,
    dropped: u64,
) -> Option<Sighting> {
    let Neighbour {
        address,
        iface,
        failed,
        used_ns,
        updated_ns,
    } = neighbour;
    let netns = &state.netns;
    let scope = Scope::neighbour(netns, iface, *address);
    let connections = victims.get(address).copied().unwrap_or(0);
    let known = facts
        .history
        .ledger
        .is_open(NEIGHBOR_UNREACHABLE.id, &scope);
    let wanted = (*used_ns as f64) < facts.limit("used_ns");
    // Whoever goes on sending turns a failed entry into an incomplete one again.
    let waiting = !failed && (known || *updated_ns as f64 > facts.limit("incomplete_ns"));
    let gave_up = is_fresh(facts.window, neighbour) || *failed && connections > 0;
    if !wanted || !(waiting || gave_up) {
        return None;
    }
    let others = facts.forwards(netns);
    let leads_on = || {
        state
            .routes
            .iter()
            .any(|route| route.gateway == Some(*address))
    };
    // A router that asks for addresses which somebody scans throws packets away in normal life.
    let missed = connections > 0 || dropped > 0 && (!others || leads_on());
    let (confidence, severity) = match (gave_up, missed) {
        (true, true) => (Confidence::Certain, Severity::Critical),
        (true, false) if !others => (Confidence::Likely, Severity::Warn),
        (true | false, _) => (Confidence::Possible, Severity::Warn),
    };
    let state = if *failed { "FAILED" } else { "INCOMPLETE" };
    let why = format!("ms since {address} on {} became {state}", iface.name);
    let mut evidence = vec![Evidence::new(
        "neighbour_state",
        *updated_ns as f64 / 1e6,
        "ms",
        why,
    )];
    if connections > 0 {
        evidence.push(Evidence::new(
            "connect_failures",
            connections as f64,
            "connections",
            "connects to it ended with EHOSTUNREACH",
        ));
    }
    if dropped > 0 {
        evidence.push(Evidence::new(
            REASON,
            dropped as f64,
            "packets",
            "packets thrown away in this namespace that waited for a neighbour",
        ));
    }
    Some(Sighting {
        onset: if gave_up && (missed || !others) || known {
            Onset::Hard
        } else {
            Onset::Statistical
        },
        confidence,
        severity,
        evidence,
        impact: Impact {
            connections,
            share_ratio: share(facts, netns, connections),
            peers: 1,
        },
        summary: format!(
            "{address} does not answer on {}{}: nobody there has this address.",
            iface.name,
            place(&scope)
        ),
        scope,
    })
}

/// One sighting for many silent addresses, per interface.
fn swept(netns: &Netns, silent: &[Sighting]) -> Vec<Sighting> {
    let mut by_iface: BTreeMap<u32, (Scope, u64)> = BTreeMap::new();
    for iface in silent
        .iter()
        .filter_map(|sighting| sighting.scope.iface.as_ref())
    {
        let new = || (Scope::iface(netns, iface.ifindex, &iface.name), 0);
        by_iface.entry(iface.ifindex).or_insert_with(new).1 += 1;
    }
    let sighting = |(scope, count): (Scope, u64)| Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Possible,
        severity: Severity::Warn,
        evidence: vec![Evidence::new(
            NEIGHBOUR_FAILED.id,
            count as f64,
            "entries",
            "addresses that did not answer",
        )],
        impact: Impact {
            connections: 0,
            share_ratio: 0.0,
            peers: count,
        },
        summary: format!(
            "{count} addresses on {}{} do not answer: the network behind it is gone, or somebody sweeps it.",
            iface(&scope),
            place(&scope)
        ),
        scope,
    };
    by_iface.into_values().map(sighting).collect()
}

/// Connects that ended with EHOSTUNREACH, by address. The peer map counts ENETUNREACH with them: the errno must have been seen.
fn victims(facts: &Facts, netns: &Netns) -> BTreeMap<IpAddr, u64> {
    let mut failures = facts.window.occurrences(Kind::ConnectFailed);
    if !failures.any(|(found, key, _)| found == netns && errno(key.code) == EHOSTUNREACH) {
        return BTreeMap::new();
    }
    let mut victims = BTreeMap::new();
    for peer in facts
        .window
        .peers()
        .into_iter()
        .filter(|peer| peer.netns == *netns && peer.delta.unreachable > 0)
    {
        *victims.entry(peer.address).or_default() += peer.delta.unreachable;
    }
    victims
}

fn dropped(facts: &Facts, netns: &Netns) -> u64 {
    facts
        .map
        .drops()
        .filter(|row| &*row.reason == REASON && row.scope.netns.as_ref() == Some(netns))
        .map(|row| row.packets)
        .sum()
}

fn share(facts: &Facts, netns: &Netns, connections: u64) -> f64 {
    let attempts = facts.history.peers.attempts_in(netns);
    if connections == 0 {
        0.0
    } else {
        (connections as f64 / attempts.max(1) as f64).min(1.0)
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let name = iface(&finding.scope);
    let word = quoted(name);
    let run = |command: String| inside(&finding.scope, &command);
    let Some(address) = finding.scope.remote else {
        return vec![Advice {
            text: format!(
                "Many addresses on {name} do not answer: check switch, VLAN and prefix length."
            ),
            confirm: run(format!("ip neigh show dev {word} nud failed")),
            change: "bring the network segment back, or stop the sweep".to_owned(),
            trade_off: "none".to_owned(),
        }];
    };
    vec![Advice {
        text: format!(
            "{address} is asked for on {name} and nobody answers: check that the host is up, its address, VLAN and our prefix length."
        ),
        confirm: run(format!("ip neigh show to {address} dev {word}")),
        change: format!("bring {address} up, or correct the address or route that leads to it"),
        trade_off: "A static entry (ip neigh replace) hides the fault instead of mending it."
            .to_owned(),
    }]
}
