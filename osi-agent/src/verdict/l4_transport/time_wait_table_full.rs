//! As many connections are in TIME_WAIT as may be.

use osi_common::layer::Layer;

use super::super::text::{inside, percent, place};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l4_transport::memory::{TIME_WAIT, TIME_WAIT_OVERFLOWS};
use crate::scope::Scope;
use crate::snapshot::NetnsState;

pub(in crate::verdict) static TIME_WAIT_TABLE_FULL: Cause = Cause {
    id: "time_wait_table_full",
    layer: Layer::L4,
    class: CauseClass::Capacity,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "As many closed connections wait in TIME_WAIT as may, so that further ones end without it: late segments may reach the next connection with the same ports.",
    explained_by: &[],
    suspects: &[],
    reads: &[&TIME_WAIT, &TIME_WAIT_OVERFLOWS],
    thresholds: &[
        Threshold::of("full_ratio", 0.95),
        Threshold::of("connections", 10.0),
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
    let skipped = facts.map.count(&TIME_WAIT_OVERFLOWS, &scope);
    let meter = facts.meter(&TIME_WAIT, &scope);
    let ratio = meter.and_then(|meter| meter.ratio).unwrap_or(0.0);
    let overflows = skipped as f64 > facts.limit("connections");
    if !overflows && ratio < facts.limit("full_ratio") {
        return None;
    }
    let mut evidence = Vec::new();
    if skipped > 0 {
        evidence.push(Evidence::new(
            TIME_WAIT_OVERFLOWS.id,
            skipped as f64,
            "connections",
            TIME_WAIT_OVERFLOWS.help,
        ));
    }
    evidence.extend(meter.map(|meter| {
        let limit = meter.reading.capacity.unwrap_or_default();
        let why = format!("connections in TIME_WAIT at the window's end, of {limit} that may be");
        Evidence::new(TIME_WAIT.id, meter.reading.used, "connections", why)
    }));
    Some(Sighting {
        summary: format!(
            "The table of connections in TIME_WAIT{} is {} full: {skipped} connections skipped it.",
            place(&scope),
            percent(ratio)
        ),
        scope,
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence,
        // Whoever skips it is done: nobody waits for anything.
        impact: Impact::default(),
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let row = finding.row(&TIME_WAIT);
    let now = row.map_or_else(String::new, |row| format!(" ({} {})", row.value, row.why));
    vec![
        Advice {
            text: "Close fewer connections here: whoever closes first keeps TIME_WAIT for a minute, so reuse connections or let the other side close.".to_owned(),
            confirm: inside(&finding.scope, "ss -Htan state time-wait | wc -l"),
            change: "turn on keep-alive or connection pooling, or let the clients close".to_owned(),
            trade_off: "Idle connections hold memory on both sides.".to_owned(),
        },
        Advice {
            text: format!("Let more connections wait{now}."),
            confirm: inside(&finding.scope, "sysctl net.ipv4.tcp_max_tw_buckets"),
            change: inside(&finding.scope, "sysctl -w net.ipv4.tcp_max_tw_buckets=N"),
            trade_off: "Each one holds about 250 bytes of the kernel's memory and its local port.".to_owned(),
        },
    ]
}
