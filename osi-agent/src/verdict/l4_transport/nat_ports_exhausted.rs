//! Address translation finds no free port for a new connection.

use osi_common::layer::Layer;

use super::super::facts::Seen;
use super::super::text::{inside, percent, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l3_network::netfilter::REASON;
use crate::layer::l3_network::routes::{IP_FORWARDED, IP_SENT, IP6_FORWARDED, IP6_SENT};
use crate::layer::l4_transport::conntrack::{CONNTRACK_INSERT_FAILURES, is_full};
use crate::scope::Scope;
use crate::snapshot::NetnsState;

pub(in crate::verdict) static NAT_PORTS_EXHAUSTED: Cause = Cause {
    id: "nat_ports_exhausted",
    layer: Layer::L4,
    class: CauseClass::Capacity,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "Address translation has no free address and port left for new connections to a destination, so that their packets are dropped.",
    explained_by: &[],
    suspects: &[],
    reads: &[&CONNTRACK_INSERT_FAILURES],
    // Two connections that are entered in the same moment collide now and then on every busy translator: that is a few, and
    // few of its packets.
    thresholds: &[
        Threshold::of("packets", 3.0),
        Threshold::of("ratio", 0.02),
        Threshold::of("many_packets", 10.0),
        Threshold::of("many_ratio", 0.001),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        found.extend(sighting(facts, state));
    }
}

fn sighting(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let scope = Scope::netns(&state.netns);
    let failed = facts.map.count(&CONNTRACK_INSERT_FAILURES, &scope);
    // What gets through takes several packets a connection, so that the share of connections is higher than this.
    let tried: u64 = [&IP_SENT, &IP6_SENT, &IP_FORWARDED, &IP6_FORWARDED]
        .iter()
        .map(|signal| facts.map.count(signal, &scope))
        .sum();
    // What is dropped here was counted as forwarded or sent before.
    let ratio = share(failed, tried.saturating_sub(failed));
    let over = |packets, share| failed as f64 > facts.limit(packets) && ratio > facts.limit(share);
    let much = over("packets", "ratio");
    if is_full(facts.map, &scope) || !much && !over("many_packets", "many_ratio") {
        return None;
    }
    let mut evidence = vec![Evidence::new(
        CONNTRACK_INSERT_FAILURES.id,
        failed as f64,
        "packets",
        CONNTRACK_INSERT_FAILURES.help,
    )];
    let samples = facts.dropped(REASON, &state.netns);
    let pool = pool(&samples);
    evidence.extend(pool.as_ref().map(|(pool, count)| {
        let why = format!(
            "of {} examples of dropped packets went {pool}",
            samples.len()
        );
        Evidence::new("translated", *count as f64, "packets", why)
    }));
    let whose = pool.map_or_else(String::new, |(pool, _)| format!(", most of them {pool}"));
    Some(Sighting {
        summary: format!(
            "Address translation{} has no free port: {failed} packets of new connections were dropped{whose}, {} of what went out.",
            place(&scope),
            percent(ratio)
        ),
        scope,
        onset: if much {
            Onset::Hard
        } else {
            Onset::Statistical
        },
        confidence: if much {
            Confidence::Likely
        } else {
            Confidence::Possible
        },
        severity: if much {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence,
        impact: Impact {
            connections: failed,
            share_ratio: ratio,
            peers: 0,
        },
    })
}

/// The destination that most of the examples went to, and from where. They are dropped when they have been translated.
fn pool(samples: &[Seen]) -> Option<(String, usize)> {
    let name = |seen: &Seen| {
        let (local, remote) = (seen.local?, seen.remote?);
        let to = core::net::SocketAddr::new(remote, seen.remote_port);
        Some(format!("from {local} to {to}"))
    };
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for pool in samples.iter().filter_map(name) {
        *counts.entry(pool).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count)
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let failed = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!(
            "{failed} packets a window get no port of their own: see which addresses and ports the rules translate to."
        ),
        confirm: inside(&finding.scope, "nft list ruleset"),
        change: "give the rule more source addresses or a wider range of ports, with fully-random; or let clients reuse connections (conntrack -L shows who holds the ports, iptables-save -t nat the rules of iptables-legacy)".to_owned(),
        trade_off: "Further addresses must be routed back to this host, and peers that allow the old one must know them.".to_owned(),
    }]
}
