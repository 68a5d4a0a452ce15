//! The neighbour table is full: no address that is not in it can be reached.

use osi_common::layer::Layer;

use super::super::text::{inside, place};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting,
};
use crate::layer::l2_data_link::neighbour::{
    NEIGHBOUR_ENTRIES, NEIGHBOUR_ENTRIES_V6, NEIGHBOUR_OVERFLOWS,
};
use crate::scope::Scope;

pub(in crate::verdict) static NEIGHBOR_TABLE_FULL: Cause = Cause {
    id: "neighbor_table_full",
    layer: Layer::L2,
    class: CauseClass::Capacity,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "The table of neighbours holds all that it may, so that packets for any other neighbour are dropped.",
    explained_by: &[],
    suspects: &[],
    reads: &[&NEIGHBOUR_OVERFLOWS],
    thresholds: &[],
    detect,
    advise,
};

/// The drop reason of packets whose next hop found no room, from 6.1 on; the counter is older.
const REASON: &str = "NEIGH_CREATEFAIL";

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let host = Scope::host();
    let refused = facts.map.count(&NEIGHBOUR_OVERFLOWS, &host);
    if refused == 0 {
        return;
    }
    let own = facts.packets_dropped(&[REASON]);
    let Some(scope) = facts.host_or_watched(own) else {
        return;
    };
    let mut evidence = vec![Evidence::new(
        NEIGHBOUR_OVERFLOWS.id,
        refused as f64,
        "events",
        NEIGHBOUR_OVERFLOWS.help,
    )];
    for signal in [&NEIGHBOUR_ENTRIES, &NEIGHBOUR_ENTRIES_V6] {
        evidence.extend(facts.meter(signal, &host).map(|meter| {
            let limit = meter.reading.capacity.unwrap_or_default();
            let why = format!("entries at the window's end, of {limit} that the table takes");
            Evidence::new(signal.id, meter.reading.used, "entries", why)
        }));
    }
    if own > 0 {
        let why = "packets of the watched namespaces that were dropped for it";
        evidence.push(Evidence::new(REASON, own as f64, "packets", why));
    }
    found.push(Sighting {
        summary: format!(
            "The neighbour table{} is full: {refused} times a neighbour found no room in it.",
            place(&scope)
        ),
        scope,
        onset: Onset::Hard,
        confidence: Confidence::Certain,
        severity: Severity::Critical,
        evidence,
        impact: Impact::default(),
    });
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let refused = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!(
            "{refused} neighbours a window find no room: raise gc_thresh3 above what the links hold, or make the links smaller."
        ),
        confirm: inside(&finding.scope, "sh -c 'ip -s neigh show nud all | wc -l'"),
        change: "sysctl -w net.ipv4.neigh.default.gc_thresh3=N, and gc_thresh2 to half of it; the same below net.ipv6".to_owned(),
        trade_off: "Each entry holds about half a kilobyte of the kernel's memory; a scan of a large network fills any table.".to_owned(),
    }]
}
