//! TCP has used up, or nearly, the memory that the host gives to it.

use osi_common::layer::Layer;

use super::super::l7_application::application_stalled::APPLICATION_STALLED;
use super::super::text::{inside, percent, place};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::Signal;
use crate::layer::l4_transport::buffers::TCP_RECEIVE_DROPS;
use crate::layer::l4_transport::memory::{
    ORPHANS, TCP_ABORTS_ON_MEMORY, TCP_MEMORY, TCP_MEMORY_PRESSURES,
};
use crate::scope::Scope;

pub(in crate::verdict) static TCP_MEMORY_PRESSURE: Cause = Cause {
    id: "tcp_memory_pressure",
    layer: Layer::L4,
    class: CauseClass::Capacity,
    onset: Onset::Statistical,
    severity: Severity::Critical,
    help: "The buffers of all TCP connections together hold as much memory as net.ipv4.tcp_mem allows, or so much that they are kept small.",
    // What one application leaves unread is the root where it is much of what TCP holds.
    explained_by: &[&[&APPLICATION_STALLED]],
    suspects: &[Layer::L7],
    reads: &[&TCP_MEMORY],
    thresholds: &[Threshold::of("full_ratio", 0.95)],
    detect,
    advise,
};

/// The drop reason of what finds no memory of its protocol; UDP has its own budget.
const REASON: &str = "PROTO_MEM";

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let host = Scope::host();
    let Some(meter) = facts.meter(&TCP_MEMORY, &host) else {
        return;
    };
    let ratio = meter.ratio.unwrap_or(0.0);
    let all =
        |signal: &'static Signal| -> u64 { facts.map.counters(signal).map(|row| row.delta).sum() };
    let began = all(&TCP_MEMORY_PRESSURES);
    let dropped = all(&TCP_RECEIVE_DROPS).max(refused(facts));
    // Too many sockets without a process are reset by the same counter.
    let orphans = facts.meter(&ORPHANS, &host).and_then(|meter| meter.ratio);
    let crowded = orphans.is_some_and(|ratio| ratio >= facts.limit("full_ratio"));
    let aborted = if crowded {
        0
    } else {
        all(&TCP_ABORTS_ON_MEMORY)
    };
    let full = ratio >= facts.limit("full_ratio");
    let pressure = facts.window.host().tcp_pressure;
    let saves = began > 0 || pressure.is_some_and(|pages| meter.reading.used >= pages as f64);
    if !full && !saves {
        return;
    }
    let hit = dropped + aborted;
    let Some(scope) = facts.host_or_watched(hit) else {
        return;
    };
    let limit = meter.reading.capacity.unwrap_or_default();
    let mut evidence = vec![Evidence::new(
        TCP_MEMORY.id,
        meter.reading.used,
        "pages",
        format!("held by TCP at the window's end, of {limit} that it may"),
    )];
    let rows = [
        (
            TCP_MEMORY_PRESSURES.id,
            began,
            "events",
            TCP_MEMORY_PRESSURES.help,
        ),
        (
            TCP_RECEIVE_DROPS.id,
            dropped,
            "packets",
            TCP_RECEIVE_DROPS.help,
        ),
        (
            TCP_ABORTS_ON_MEMORY.id,
            aborted,
            "connections",
            TCP_ABORTS_ON_MEMORY.help,
        ),
    ];
    let moved = rows.into_iter().filter(|(_, value, ..)| *value > 0);
    evidence.extend(moved.map(|(id, value, unit, why)| Evidence::new(id, value as f64, unit, why)));
    let hurts = full || hit > 0;
    let what = if hurts {
        format!("{dropped} segments were dropped and {aborted} connections reset")
    } else {
        "it keeps windows and buffers small to save some".to_owned()
    };
    found.push(Sighting {
        summary: format!(
            "TCP{} holds {} of the memory that it may: {what}.",
            place(&scope),
            percent(ratio)
        ),
        scope,
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: if hurts {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence,
        impact: Impact {
            connections: aborted,
            share_ratio: 0.0,
            peers: 0,
        },
    });
}

/// Segments that the drop probe saw refused for lack of memory.
fn refused(facts: &Facts) -> u64 {
    let rows = facts.map.drops().filter(|row| &*row.reason == REASON);
    rows.flat_map(|row| &row.functions)
        .filter(|(function, _)| function.starts_with("tcp_"))
        .map(|(_, packets)| packets)
        .sum()
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let row = finding.evidence.first();
    let now = row.map_or_else(String::new, |row| {
        format!(" ({} pages {})", row.value, row.why)
    });
    vec![
        Advice {
            text: format!("Find the connections whose queues hold the memory{now}: programs that do not read, or peers that do not."),
            confirm: inside(&finding.scope, "ss -Htnmp"),
            change: "mend or restart the program whose Recv-Q is full; fewer connections, or smaller net.ipv4.tcp_rmem and tcp_wmem".to_owned(),
            trade_off: "Smaller buffers slow down connections over long paths.".to_owned(),
        },
        Advice {
            text: "Let TCP have more memory, where the host has some to spare.".to_owned(),
            // The setting is the initial namespace's alone.
            confirm: "sysctl net.ipv4.tcp_mem".to_owned(),
            change: "sysctl -w net.ipv4.tcp_mem='LOW PRESSURE MAX', in pages".to_owned(),
            trade_off: "What buffers hold can not be swapped out and is taken from the programs.".to_owned(),
        },
    ]
}
