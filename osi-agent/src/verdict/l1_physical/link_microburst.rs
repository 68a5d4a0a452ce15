//! Bursts of a millisecond exceed what the link carries, though it is far from full.

use osi_common::layer::Layer;

use super::super::text::{bits, iface, inside, percent, place, quoted, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::Amount;
use crate::layer::l1_physical::link::{BURST_PEAK_TX, LINK_THROUGHPUT_TX};
use crate::layer::l2_data_link::qdisc::{QDISC_DROPS, QDISC_PACKETS};

pub(in crate::verdict) static LINK_MICROBURST: Cause = Cause {
    id: "link_microburst",
    layer: Layer::L1,
    class: CauseClass::Capacity,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "Packets are handed to an interface in bursts faster than it sends, and its queue drops some, though on average it is far from full.",
    explained_by: &[],
    suspects: &[],
    reads: &[&BURST_PEAK_TX],
    thresholds: &[
        Threshold::of("packets", 10.0),
        Threshold::of("ratio", 0.001),
        Threshold::of("peak_ratio", 1.0),
        Threshold::of("mean_ratio", 0.7),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let dropping = facts.map.counters(&QDISC_DROPS);
    found.extend(dropping.filter_map(|row| sighting(facts, row)));
}

fn sighting(facts: &Facts, drops: &Amount) -> Option<Sighting> {
    let (scope, dropped) = (&drops.scope, drops.delta);
    let lost = share(dropped, facts.map.count(&QDISC_PACKETS, scope));
    let peak = facts.meter(&BURST_PEAK_TX, scope)?;
    let mean = facts.meter(&LINK_THROUGHPUT_TX, scope)?;
    let bursts =
        peak.ratio? >= facts.limit("peak_ratio") && mean.ratio? < facts.limit("mean_ratio");
    if !bursts || dropped as f64 <= facts.limit("packets") || lost <= facts.limit("ratio") {
        return None;
    }
    let capacity = bits(peak.reading.capacity?);
    let evidence = vec![
        Evidence::new(
            BURST_PEAK_TX.id,
            peak.reading.used,
            "bits_per_s",
            format!(
                "handed over in the busiest millisecond, of {capacity} that the link or its shaper allows"
            ),
        ),
        Evidence::new(
            LINK_THROUGHPUT_TX.id,
            mean.reading.used,
            "bits_per_s",
            format!("sent on average, {} of that", percent(mean.ratio?)),
        ),
        Evidence::new(
            QDISC_DROPS.id,
            dropped as f64,
            "packets",
            format!("{} of the packets to be sent", percent(lost)),
        ),
    ];
    Some(Sighting {
        scope: scope.clone(),
        onset: Onset::Statistical,
        confidence: Confidence::Likely,
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: lost,
            peers: 0,
        },
        summary: format!(
            "Bursts of up to {} meet link {}{}, which sends {capacity} and {} on average: {dropped} packets dropped.",
            bits(peak.reading.used),
            iface(scope),
            place(scope),
            bits(mean.reading.used)
        ),
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let name = iface(&finding.scope);
    let peak = finding
        .evidence
        .first()
        .map(|row| bits(row.value))
        .unwrap_or_default();
    vec![Advice {
        text: format!(
            "{name} is handed {peak} for a millisecond at a time: let the sender pace what it sends, or give the queue room for such a burst."
        ),
        confirm: inside(
            &finding.scope,
            &format!("tc -s qdisc show dev {}", quoted(name)),
        ),
        change: "fq on the sending host, which paces TCP (tc qdisc replace dev IFACE root fq), or a longer queue here".to_owned(),
        trade_off: "Pacing delays the end of a burst by what the link takes for it; a longer queue delays everybody behind the burst, too.".to_owned(),
    }]
}
