//! A rule set drops packets of connections that somebody wants.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use osi_common::layer::Layer;

use super::super::facts::Seen;
use super::super::text::{inside, percent, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::DropRow;
use crate::layer::l3_network::netfilter::{NETFILTER_DROPS, REASON, by_rule};
use crate::layer::l3_network::routes::{IP_RECEIVED, IP_SENT, IP6_RECEIVED, IP6_SENT};
use crate::scope::Scope;
use crate::snapshot::NetnsState;

pub(in crate::verdict) static PACKET_FILTERED: Cause = Cause {
    id: "packet_filtered",
    layer: Layer::L3,
    class: CauseClass::Policy,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "A packet filter's rule drops packets of a connection that is established or attempted.",
    explained_by: &[],
    suspects: &[],
    reads: &[&NETFILTER_DROPS],
    thresholds: &[
        Threshold {
            name: "packets",
            default: 3.0,
        },
        Threshold {
            name: "ratio",
            default: 0.001,
        },
        Threshold {
            name: "conntrack_ratio",
            default: 0.95,
        },
        Threshold {
            name: "scan_ratio",
            default: 0.5,
        },
    ],
    detect,
    advise,
};

/// Functions of the kernel that run a rule set; `nf_hook_slow` also drops for others, such as connection tracking.
const RULE_SETS: [&str; 6] = ["nft_", "ipt_", "ip6t_", "arpt_", "ebt_", "nf_tables"];

/// Below these no service port ends: `net.ipv4.ip_local_port_range` begins here unless it was changed.
const FIRST_EPHEMERAL: u16 = 32_768;

/// Fewer samples do not tell a scan from a service.
const MIN_SAMPLES: usize = 4;

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        found.extend(sighting(facts, state));
    }
}

fn sighting(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let scope = Scope::netns(&state.netns);
    let rows: Vec<_> = drop_rows(facts).filter(|row| row.scope == scope).collect();
    let dropped: u64 = rows.iter().map(|row| row.packets).sum();
    let moved = [&IP_RECEIVED, &IP_SENT, &IP6_RECEIVED, &IP6_SENT]
        .iter()
        .map(|signal| facts.map.count(signal, &scope))
        .sum();
    let lost = share(dropped, moved).min(1.0);
    let mut samples = facts.dropped(REASON, &state.netns);
    samples.retain(|seen| seen.remote.is_some());
    let victims = victims(facts, state, &samples);
    let wanted = !victims.is_empty();
    let few = dropped as f64 <= facts.limit("packets") || lost <= facts.limit("ratio");
    if dropped == 0 || few && !wanted || !wanted && is_scan(facts, state, &samples) {
        return None;
    }
    let named = rows
        .iter()
        .flat_map(|row| &row.functions)
        .any(|(function, _)| RULE_SETS.iter().any(|prefix| function.starts_with(prefix)));
    let confidence = confidence(facts, state, named, wanted);
    let mut evidence: Vec<_> = rows
        .iter()
        .map(|row| {
            let functions: Vec<_> = row
                .functions
                .iter()
                .map(|(function, _)| &**function)
                .filter(|name| !name.is_empty())
                .collect();
            let why = format!(
                "packets dropped by {}",
                if functions.is_empty() {
                    "a rule".to_owned()
                } else {
                    functions.join(", ")
                }
            );
            Evidence::new(&row.reason, row.packets as f64, "packets", why)
        })
        .collect();
    evidence.extend(victims.iter().take(4).map(|(peer, attempts)| {
        Evidence::new(
            "connects",
            *attempts as f64,
            "connections",
            format!("attempts to {peer} that did not get through"),
        )
    }));
    let who = victims.keys().next().map_or_else(
        || flow(&samples),
        |peer| format!(", of connections to {peer}"),
    );
    let attempted: u64 = victims.values().sum();
    let attempts = facts.history.peers.attempts_in(&state.netns);
    let hurt = if wanted {
        (attempted as f64 / attempts.max(1) as f64).min(1.0)
    } else {
        lost
    };
    // Packets that nobody here asked for may be meant to be dropped: critical only where they are much of the traffic.
    let severity = if wanted || lost > 0.1 {
        Severity::Critical
    } else {
        Severity::Warn
    };
    Some(Sighting {
        onset: if wanted || samples.len() >= MIN_SAMPLES || lost > 0.1 {
            Onset::Hard
        } else {
            Onset::Statistical
        },
        confidence,
        severity,
        evidence,
        impact: Impact {
            connections: attempted,
            share_ratio: hurt,
            peers: victims.len() as u64,
        },
        summary: format!(
            "A packet filter{} dropped {dropped} packets ({} of all){who}.",
            place(&scope),
            percent(lost)
        ),
        scope,
    })
}

fn drop_rows<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a DropRow> {
    facts
        .map
        .layers
        .iter()
        .flat_map(|layer| &layer.drops)
        .filter(|row| by_rule(row))
}

/// A full connection tracking table ends in the same drop reason; its own counters are not read yet.
fn confidence(facts: &Facts, state: &NetnsState, named: bool, wanted: bool) -> Confidence {
    let full = |gauge: crate::snapshot::Gauge| {
        gauge.used as f64 >= facts.limit("conntrack_ratio") * gauge.limit as f64
    };
    match (named, state.conntrack.is_some_and(full)) {
        (true, _) => Confidence::Certain,
        (false, true) => Confidence::Possible,
        (false, false) if wanted => Confidence::Certain,
        (false, false) => Confidence::Likely,
    }
}

/// Peers that this namespace tries to reach in vain and whose packets, in either direction, were among those dropped.
fn victims(facts: &Facts, state: &NetnsState, samples: &[Seen]) -> BTreeMap<String, u64> {
    let ends: BTreeSet<(IpAddr, u16)> = samples
        .iter()
        .flat_map(|seen| {
            [
                (seen.local, seen.local_port),
                (seen.remote, seen.remote_port),
            ]
        })
        .filter_map(|(address, port)| Some((address?, port)))
        .collect();
    let here = facts
        .history
        .peers
        .records(facts.history.windows)
        .filter(|peer| *peer.netns == state.netns);
    let hit = here.filter(|peer| {
        ends.contains(&(peer.address, peer.port)) && peer.sum.connected < peer.sum.attempts
    });
    hit.map(|peer| {
        let name = core::net::SocketAddr::new(peer.address, peer.port).to_string();
        (name, peer.sum.attempts - peer.sum.connected)
    })
    .collect()
}

/// Whether the dropped packets go to ever other ports: a scan that the filter is there for.
fn is_scan(facts: &Facts, state: &NetnsState, samples: &[Seen]) -> bool {
    if samples.len() < MIN_SAMPLES {
        return false;
    }
    let first = state
        .port_range
        .map_or(FIRST_EPHEMERAL, |(first, _, _)| first);
    let mut services: BTreeMap<u16, usize> = BTreeMap::new();
    for seen in samples {
        let is_service = |port: &u16| *port < first;
        let service = [seen.local_port, seen.remote_port]
            .into_iter()
            .filter(is_service)
            .min();
        *services
            .entry(service.unwrap_or_else(|| seen.local_port.min(seen.remote_port)))
            .or_default() += 1;
    }
    let most = services.values().max().copied().unwrap_or(0);
    (most as f64) < facts.limit("scan_ratio") * samples.len() as f64
}

fn flow(samples: &[Seen]) -> String {
    let last = samples
        .last()
        .and_then(|seen| Some((seen.local?, seen.local_port, seen.remote?, seen.remote_port)));
    last.map_or_else(String::new, |(local, local_port, remote, remote_port)| {
        let (a, b) = (
            core::net::SocketAddr::new(local, local_port),
            core::net::SocketAddr::new(remote, remote_port),
        );
        format!(", for example between {a} and {b}")
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let dropped = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!("A rule drops {dropped} packets a window: find it by its counter, and ask who set it."),
        confirm: inside(&finding.scope, "nft list ruleset"),
        change: "add an accept rule before the one that drops, or remove that one (iptables-save shows rules of iptables-legacy)"
            .to_owned(),
        trade_off: "The rule may be there for a reason: whoever opens a port opens it for everybody it names.".to_owned(),
    }]
}
