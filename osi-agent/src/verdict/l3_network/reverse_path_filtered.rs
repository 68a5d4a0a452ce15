//! Packets arrive on an interface that does not lead back to their sender, and the reverse-path filter drops them.

use core::net::IpAddr;
use std::collections::BTreeSet;

use osi_common::layer::Layer;

use super::super::text::{inside, percent, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l3_network::routes::{IP_RECEIVED, REVERSE_PATH_FILTERED as DROPPED};
use crate::scope::Scope;
use crate::snapshot::NetnsState;
use crate::verdict::facts::interface_of;

pub(in crate::verdict) static REVERSE_PATH_FILTERED: Cause = Cause {
    id: "reverse_path_filtered",
    layer: Layer::L3,
    class: CauseClass::Config,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "Packets come in where no route leads back to their sender, and rp_filter drops them.",
    explained_by: &[],
    suspects: &[],
    reads: &[&DROPPED],
    thresholds: &[
        Threshold {
            name: "packets",
            default: 3.0,
        },
        Threshold {
            name: "ratio",
            default: 0.001,
        },
    ],
    detect,
    advise,
};

/// The drop reason, from 6.2 on; the counter is older.
const REASON: &str = "IP_RPFILTER";
/// Senders that are named.
const NAMED: usize = 3;

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        found.extend(sighting(facts, state));
    }
}

fn sighting(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let dropped = facts.count_in(&DROPPED, &state.netns);
    let received = facts.count_in(&IP_RECEIVED, &state.netns);
    // What the filter drops is counted as received, too.
    let lost = share(dropped, received.saturating_sub(dropped));
    if dropped == 0 || lost <= facts.limit("ratio") {
        return None;
    }
    let samples = facts.dropped(REASON, &state.netns);
    let iface = interface_of(state, &samples);
    let scope = iface.map_or_else(
        || Scope::netns(&state.netns),
        |iface| Scope::iface(&state.netns, iface.ifindex, &iface.name),
    );
    let senders: BTreeSet<IpAddr> = samples.iter().filter_map(|seen| seen.local).collect();
    let mut evidence = vec![Evidence::new(
        DROPPED.id,
        dropped as f64,
        "packets",
        DROPPED.help,
    )];
    if !senders.is_empty() {
        let named: Vec<_> = senders
            .iter()
            .take(NAMED)
            .map(ToString::to_string)
            .collect();
        let why = format!("senders among the examples, such as {}", named.join(", "));
        evidence.push(Evidence::new(
            REASON,
            senders.len() as f64,
            "addresses",
            why,
        ));
    }
    let on = iface.map_or_else(String::new, |iface| format!(" on {}", iface.name));
    let from = senders
        .first()
        .map_or_else(String::new, |sender| format!(", for example from {sender}"));
    Some(Sighting {
        // A stray packet with a forged sender is the weather of the Internet.
        onset: if dropped as f64 > facts.limit("packets") {
            Onset::Hard
        } else {
            Onset::Sustained
        },
        confidence: Confidence::Certain,
        severity: if dropped as f64 > facts.limit("packets") {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: lost,
            peers: senders.len() as u64,
        },
        summary: format!(
            "The reverse-path filter{} dropped {dropped} packets{on}{from}; that is {} of the IPv4 packets received.",
            place(&scope),
            percent(lost)
        ),
        scope,
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let dropped = finding.evidence.first().map_or(0.0, |row| row.value);
    let (iface, setting) = finding.scope.iface.as_ref().map_or_else(
        || ("the interface".to_owned(), "all".to_owned()),
        // A dot in a name is a slash in the name of a setting.
        |iface| (iface.name.clone(), iface.name.replace('.', "/")),
    );
    vec![Advice {
        text: format!(
            "{dropped} packets a window come in through {iface}, and the routes lead back through another interface: add the missing route."
        ),
        confirm: inside(
            &finding.scope,
            &format!("sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.{setting}.rp_filter"),
        ),
        change: inside(
            &finding.scope,
            &format!("sysctl -w net.ipv4.conf.{setting}.rp_filter=2"),
        ),
        trade_off: "Loose checking (2) takes packets from any sender that some interface reaches, so forged senders pass more easily; the larger value of all and the interface counts."
            .to_owned(),
    }]
}
