//! Packets arrive on an interface that does not lead back to their sender, and the reverse-path filter drops them.

use osi_common::layer::Layer;

use super::super::origin::Origin;
use super::super::text::{inside, percent, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l3_network::routes::{IP_RECEIVED, REVERSE_PATH_FILTERED as DROPPED};
use crate::snapshot::NetnsState;

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
    thresholds: &[Threshold::of("packets", 3.0), Threshold::of("ratio", 0.001)],
    detect,
    advise,
};

/// The drop reason, from 6.2 on; the counter is older.
const REASON: &str = "IP_RPFILTER";

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
    let origin = Origin::of(facts, state, |seen| &*seen.reason == REASON);
    let scope = origin.scope();
    let mut evidence = vec![Evidence::new(
        DROPPED.id,
        dropped as f64,
        "packets",
        DROPPED.help,
    )];
    evidence.extend(origin.evidence(REASON));
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
            peers: origin.senders.len() as u64,
        },
        summary: format!(
            "The reverse-path filter{} dropped {dropped} packets{}{}; that is {} of the IPv4 packets received.",
            place(&scope),
            origin.on(),
            origin.from(),
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
