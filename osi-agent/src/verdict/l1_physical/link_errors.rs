//! A link damages frames, or its device has no room for them.

use osi_common::layer::Layer;

use super::super::text::{iface, inside, place, quoted, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::counters;
use crate::layer::l1_physical::driver::{Growth, grown};
use crate::layer::l1_physical::errors::{Faults, LINK_MISSED, LINK_PHYSICAL_ERRORS, by_link};
use crate::snapshot::driver::Meaning;

pub(in crate::verdict) static LINK_ERRORS: Cause = Cause {
    id: "link_errors",
    layer: Layer::L1,
    class: CauseClass::Loss,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "Frames arrive damaged, or the device drops them because it has no room: the cable, the other end, or receive rings that are too short.",
    explained_by: &[],
    suspects: &[],
    reads: &[&LINK_PHYSICAL_ERRORS, &LINK_MISSED],
    thresholds: &[
        Threshold::of("frames", 10.0),
        Threshold::of("ratio", 0.0001),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    found.extend(by_link(facts.window).filter_map(|faults| sighting(facts, &faults)));
}

fn sighting(facts: &Facts, faults: &Faults) -> Option<Sighting> {
    let lost = faults.physical + faults.missed;
    let ratio = share(lost, faults.frames);
    if lost as f64 <= facts.limit("frames") || ratio <= facts.limit("ratio") {
        return None;
    }
    let scope = faults.scope();
    let mut evidence = Vec::new();
    for (signal, count, why) in [
        (
            &LINK_PHYSICAL_ERRORS,
            faults.physical,
            "frames arrived damaged",
        ),
        (
            &LINK_MISSED,
            faults.missed,
            "frames found no room in the device",
        ),
    ] {
        if count > 0 {
            let why = format!("{why}, beside {} that the link carried", faults.frames);
            evidence.push(Evidence::new(signal.id, count as f64, "packets", why));
        }
    }
    let here = |growth: &Growth| growth.scope() == scope && tells(growth);
    evidence.extend(counters::evidence(grown(facts.window).filter(here)));
    let what = if faults.physical > faults.missed {
        "damages frames"
    } else {
        "has no room for frames"
    };
    Some(Sighting {
        summary: format!(
            "Link {}{} {what}: {lost} were lost, beside {} that it carried.",
            iface(&scope),
            place(&scope),
            faults.frames
        ),
        scope,
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: ratio,
            peers: 0,
        },
    })
}

/// Whether a counter tells more of lost frames; what is not known is shown as well.
fn tells(growth: &Growth) -> bool {
    match growth.row.map(|row| row.meaning) {
        Some(Meaning::Physical | Meaning::HardwareDrop | Meaning::SoftwareDrop) | None => true,
        Some(Meaning::ProgramDrop | Meaning::Allowance | Meaning::Pause) => false,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let name = iface(&finding.scope);
    let word = quoted(name);
    let count = |id: &str| {
        let row = finding.evidence.iter().find(|row| row.signal == id);
        row.map_or(0.0, |row| row.value)
    };
    let (damaged, missed) = (count(LINK_PHYSICAL_ERRORS.id), count(LINK_MISSED.id));
    let (text, change, trade_off) = if damaged > missed {
        (
            format!(
                "{damaged} frames a window arrive damaged on {name}: replace cable and transceiver, one end at a time."
            ),
            "swap cable, transceiver and port, one after the other".to_owned(),
            "A link that is taken down for it is away for that time.",
        )
    } else {
        (
            format!(
                "{missed} frames a window find no room in the device of {name}: let its receive rings be longer."
            ),
            format!(
                "ethtool -G {word} rx N; or spread the queues over more CPUs: ethtool -L {word} combined N"
            ),
            "Longer rings take bursts and add delay, and most devices reset the link to change them.",
        )
    };
    vec![Advice {
        text: counters::advice(finding).map_or(text, str::to_owned),
        confirm: inside(&finding.scope, &format!("ip -s -s link show dev {word}")),
        change,
        trade_off: trade_off.to_owned(),
    }]
}
