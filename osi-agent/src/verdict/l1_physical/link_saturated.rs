//! A link or its shaper carries all that it can.

use osi_common::layer::Layer;

use super::super::queueing::queueing;
use super::super::text::{bits, iface, inside, percent, place, quoted, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::link_degraded::LINK_DEGRADED;
use crate::layer::Meter;
use crate::layer::l1_physical::link::{LINK_THROUGHPUT_RX, LINK_THROUGHPUT_TX};
use crate::layer::l2_data_link::qdisc::{QDISC_DROPS, QDISC_PACKETS};

pub(in crate::verdict) static LINK_SATURATED: Cause = Cause {
    id: "link_saturated",
    layer: Layer::L1,
    class: CauseClass::Capacity,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "An interface carries nearly all that its link speed or its shaper allows.",
    explained_by: &[&[&LINK_DEGRADED]],
    suspects: &[],
    reads: &[&LINK_THROUGHPUT_RX, &LINK_THROUGHPUT_TX],
    thresholds: &[Threshold::of("ratio", 0.95)],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for (signal, verb) in [
        (&LINK_THROUGHPUT_RX, "receives"),
        (&LINK_THROUGHPUT_TX, "sends"),
    ] {
        let full = facts.map.meters(signal).filter(|meter| {
            meter
                .ratio
                .is_some_and(|ratio| ratio >= facts.limit("ratio"))
        });
        found.extend(full.map(|meter| sighting(facts, meter, verb)));
    }
}

fn sighting(facts: &Facts, meter: &Meter, verb: &str) -> Sighting {
    let scope = &meter.reading.scope;
    let (used, capacity) = (
        meter.reading.used,
        meter.reading.capacity.unwrap_or_default(),
    );
    let (dropped, sent) = (
        facts.map.count(&QDISC_DROPS, scope),
        facts.map.count(&QDISC_PACKETS, scope),
    );
    let why = format!("of {} that the link or its shaper allows", bits(capacity));
    let mut evidence = vec![Evidence::new(
        meter.signal.id,
        used,
        meter.signal.unit.name(),
        why,
    )];
    if dropped > 0 {
        evidence.push(Evidence::new(
            QDISC_DROPS.id,
            dropped as f64,
            "packets",
            "packets dropped in front of it",
        ));
    }
    evidence.extend(queueing(facts));
    let ratio = percent(meter.ratio.unwrap_or_default());
    Sighting {
        scope: scope.clone(),
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: share(dropped, sent),
            peers: 0,
        },
        summary: format!(
            "Link {}{} {verb} {}, {ratio} of its capacity.",
            iface(scope),
            place(scope),
            bits(used)
        ),
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let name = iface(&finding.scope);
    let now = finding
        .evidence
        .first()
        .map(|row| bits(row.value))
        .unwrap_or_default();
    vec![Advice {
        text: format!(
            "{name} moves {now}, all that it can: find the flows that fill it, or give it more capacity."
        ),
        confirm: inside(
            &finding.scope,
            &format!("tc -s qdisc show dev {}", quoted(name)),
        ),
        change: format!(
            "raise the shaper's rate (tc qdisc change dev {name} …) or move traffic to another link"
        ),
        trade_off: "A higher rate moves the queue to the next bottleneck of the path.".to_owned(),
    }]
}
