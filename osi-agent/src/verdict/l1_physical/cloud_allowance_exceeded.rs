//! The cloud delays or drops packets, because the instance uses more than it is allowed.

use osi_common::layer::Layer;

use super::super::text::{iface, inside, place, quoted, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::counters;
use crate::layer::Amount;
use crate::layer::l1_physical::driver::{ALLOWANCE_EXCEEDED, Growth, grown};
use crate::snapshot::driver::Meaning;

pub(in crate::verdict) static CLOUD_ALLOWANCE_EXCEEDED: Cause = Cause {
    id: "cloud_allowance_exceeded",
    layer: Layer::L1,
    class: CauseClass::Capacity,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "The cloud queues or drops packets of this instance, because it used more bandwidth, packets per second or tracked connections than it is allowed.",
    explained_by: &[],
    suspects: &[],
    reads: &[&ALLOWANCE_EXCEEDED],
    thresholds: &[
        Threshold::of("packets", 10.0),
        Threshold::of("ratio", 0.001),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let rows = facts.map.counters(&ALLOWANCE_EXCEEDED);
    found.extend(rows.filter_map(|row| sighting(facts, row)));
}

/// Allowances of throughput: short bursts exceed them in normal life, and are queued, not lost.
const THROUGHPUT: [&str; 2] = ["bw_", "pps_"];

fn sighting(facts: &Facts, row: &Amount) -> Option<Sighting> {
    let Amount { scope, delta } = row;
    let exceeded = |growth: &Growth| {
        let meaning = growth.row.map(|row| row.meaning);
        meaning == Some(Meaning::Allowance) && growth.scope() == *scope
    };
    let mut evidence = vec![Evidence::new(
        ALLOWANCE_EXCEEDED.id,
        *delta as f64,
        "packets",
        "packets were queued or dropped by the cloud",
    )];
    evidence.extend(counters::evidence(grown(facts.window).filter(exceeded)));
    let which = evidence.get(1).map_or("", |row| row.signal.as_str());
    let carried = grown(facts.window).find(exceeded);
    let carried = carried.map_or(0, |growth| growth.frames);
    let lost = share(*delta, carried);
    let is_throughput = |name: &str| THROUGHPUT.iter().any(|prefix| name.starts_with(prefix));
    let bursts = grown(facts.window)
        .filter(exceeded)
        .all(|growth| is_throughput(growth.counter));
    if bursts && (*delta as f64 <= facts.limit("packets") || lost <= facts.limit("ratio")) {
        return None;
    }
    Some(Sighting {
        summary: format!(
            "Interface {}{} exceeds what the cloud allows this instance: {which} and {delta} packets queued or dropped in all.",
            iface(scope),
            place(scope)
        ),
        scope: scope.clone(),
        onset: if bursts {
            Onset::Statistical
        } else {
            Onset::Hard
        },
        confidence: Confidence::Certain,
        severity: if bursts {
            Severity::Warn
        } else {
            Severity::Critical
        },
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: lost,
            peers: 0,
        },
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let name = iface(&finding.scope);
    vec![Advice {
        text: counters::advice(finding)
            .unwrap_or("Find out which allowance it is, and use less of it.")
            .to_owned(),
        confirm: inside(
            &finding.scope,
            &format!("ethtool -S {} | grep allowance_exceeded", quoted(name)),
        ),
        change: "use an instance type with a larger allowance, or spread the load over more instances".to_owned(),
        trade_off: "A larger instance costs more; its allowance may be a burst that is used up after minutes.".to_owned(),
    }]
}
