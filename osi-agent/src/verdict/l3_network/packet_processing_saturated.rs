//! A CPU does nothing but packets, and has some left when its time for them is up.

use osi_common::layer::Layer;

use super::super::l1_physical::rx_backlog_overflow::REASON as BACKLOG_FULL;
use super::super::text::{inside, percent, place};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l1_physical::softnet::{SOFTNET_DROPPED, SOFTNET_SQUEEZED, by_cpu as column};
use crate::layer::l3_network::processing::{PACKET_PROCESSING, by_cpu};
use crate::snapshot::Softnet;

pub(in crate::verdict) static PACKET_PROCESSING_SATURATED: Cause = Cause {
    id: "packet_processing_saturated",
    layer: Layer::L3,
    class: CauseClass::Capacity,
    onset: Onset::Statistical,
    severity: Severity::Critical,
    help: "A CPU is busy with packets all the time and leaves some undone: routing, filtering and delivery are its limit.",
    explained_by: &[],
    suspects: &[],
    reads: &[&PACKET_PROCESSING],
    thresholds: &[
        Threshold::of("saturation", 0.95),
        Threshold::of("squeezed", 2.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let window = facts.window;
    let count = |cpu: u32, field: fn(&Softnet) -> u64| {
        let mut rows = column(window, field);
        rows.find(|row| row.0 == cpu).map_or(0, |row| row.1)
    };
    // Other softirqs take time as well; the budget is that of packets alone.
    let squeezed = |cpu| count(cpu, |row| row.squeezed);
    let busiest = by_cpu(window)
        .filter(|(cpu, _)| squeezed(*cpu) as f64 > facts.limit("squeezed"))
        .max_by(|(_, a), (_, b)| a.share().total_cmp(&b.share()));
    let Some((cpu, busy)) = busiest.filter(|(_, busy)| busy.share() >= facts.limit("saturation"))
    else {
        return;
    };
    let Some(scope) = facts.host_or_watched(facts.packets_dropped(&[BACKLOG_FULL])) else {
        return;
    };
    let (squeezed, dropped) = (squeezed(cpu), count(cpu, |row| row.dropped));
    let (severity, consequence) = if dropped > 0 {
        (
            Severity::Critical,
            format!("{dropped} packets were dropped"),
        )
    } else {
        (Severity::Warn, "packets wait".to_owned())
    };
    found.push(Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity,
        evidence: vec![
            Evidence::new(
                PACKET_PROCESSING.id,
                busy.share(),
                "ratio",
                format!("of the time of CPU {cpu} in softirqs"),
            ),
            Evidence::new(
                SOFTNET_SQUEEZED.id,
                squeezed as f64,
                "events",
                "its budget for packets ran out with work left",
            ),
            Evidence::new(
                SOFTNET_DROPPED.id,
                dropped as f64,
                "packets",
                "found its backlog full",
            ),
        ],
        impact: Impact {
            connections: 0,
            share_ratio: busy.share(),
            peers: 0,
        },
        summary: format!(
            "CPU {cpu}{} is busy with packets {} of its time and leaves some undone: {consequence}.",
            place(&scope),
            percent(busy.share())
        ),
        scope,
    });
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let busy = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!(
            "{} of a CPU's time goes into packets: spread them over more CPUs, or make each one cheaper (fewer rules, larger packets, GRO).",
            percent(busy)
        ),
        confirm: inside(&finding.scope, "cat /proc/net/softnet_stat"),
        change: "ethtool -L IFACE combined N where the NIC has more queues, a wider /sys/class/net/IFACE/queues/rx-*/rps_cpus where it has not".to_owned(),
        trade_off: "Packets on more CPUs take time from what runs there, and RPS costs an interrupt between CPUs for each batch."
            .to_owned(),
    }]
}
