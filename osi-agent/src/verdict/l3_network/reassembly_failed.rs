//! Datagrams that arrive in fragments do not become whole.

use osi_common::layer::Layer;

use super::super::l1_physical::link_saturated::LINK_SATURATED;
use super::super::l1_physical::rx_backlog_overflow::RX_BACKLOG_OVERFLOW;
use super::super::l2_data_link::egress_queue_overflow::EGRESS_QUEUE_OVERFLOW;
use super::super::origin::Origin;
use super::super::text::{inside, percent, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l3_network::fragments::{
    FRAGMENT_MEMORY, REASSEMBLED, REASSEMBLY_FAILURES, REASSEMBLY_TIMED_OUT,
};
use crate::layer::l3_network::routes::{IP_RECEIVED, IP6_RECEIVED};
use crate::scope::Scope;
use crate::snapshot::NetnsState;

pub(in crate::verdict) static REASSEMBLY_FAILED: Cause = Cause {
    id: "reassembly_failed",
    layer: Layer::L3,
    class: CauseClass::Loss,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "Datagrams arrive in fragments and some fragments do not, or there is no memory left to wait for them.",
    explained_by: &[&[
        &LINK_SATURATED,
        &RX_BACKLOG_OVERFLOW,
        &EGRESS_QUEUE_OVERFLOW,
    ]],
    suspects: &[],
    reads: &[&REASSEMBLY_FAILURES, &FRAGMENT_MEMORY],
    thresholds: &[
        Threshold::of("events", 3.0),
        Threshold::of("ratio", 0.01),
        Threshold::of("received_ratio", 0.001),
        Threshold::of("memory_ratio", 0.95),
    ],
    detect,
    advise,
};

/// The drop reason of fragments whose siblings did not come, from 5.18 on; the counters are older.
const REASON: &str = "FRAG_REASM_TIMEOUT";

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        found.extend(sighting(facts, state));
    }
}

fn sighting(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let count = |signal| facts.count_in(signal, &state.netns);
    let failed = count(&REASSEMBLY_FAILURES);
    let whole = count(&REASSEMBLED);
    let lost = share(failed, whole);
    let scope = Scope::netns(&state.netns);
    let memory = facts
        .meter(&FRAGMENT_MEMORY, &scope)
        .filter(|meter| meter.ratio.unwrap_or(0.0) >= facts.limit("memory_ratio"));
    let received = count(&IP_RECEIVED) + count(&IP6_RECEIVED);
    // Whoever is known to the Internet gets fragments that belong to nothing.
    let failing = failed as f64 > facts.limit("events")
        && lost > facts.limit("ratio")
        && share(failed, received) > facts.limit("received_ratio");
    if !failing && memory.is_none() {
        return None;
    }
    let timed_out = count(&REASSEMBLY_TIMED_OUT);
    let origin = Origin::of(facts, state, |seen| &*seen.reason == REASON);
    let mut evidence = vec![
        Evidence::new(
            REASSEMBLY_FAILURES.id,
            failed as f64,
            "events",
            REASSEMBLY_FAILURES.help,
        ),
        Evidence::new(
            REASSEMBLY_TIMED_OUT.id,
            timed_out as f64,
            "events",
            REASSEMBLY_TIMED_OUT.help,
        ),
    ];
    evidence.extend(memory.map(|meter| {
        Evidence::new(
            FRAGMENT_MEMORY.id,
            meter.reading.used,
            "bytes",
            FRAGMENT_MEMORY.help,
        )
    }));
    evidence.extend(origin.evidence(REASON));
    let summary = match memory {
        Some(meter) => format!(
            "The memory for fragments{} is {} full: further ones are dropped, and {failed} reassemblies were given up.",
            place(&scope),
            percent(meter.ratio.unwrap_or(0.0))
        ),
        None => format!(
            "{failed} datagrams{}{} did not become whole, {} of those that came in fragments{}.",
            origin.on(),
            place(&scope),
            percent(lost),
            origin.from()
        ),
    };
    Some(Sighting {
        scope,
        onset: Onset::Statistical,
        confidence: if whole > 0 || memory.is_some() {
            Confidence::Certain
        } else {
            Confidence::Likely
        },
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: lost,
            peers: origin.senders.len() as u64,
        },
        summary,
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let failed = finding.evidence.first().map_or(0.0, |row| row.value);
    let full = finding.row(&FRAGMENT_MEMORY);
    let counters = inside(
        &finding.scope,
        "nstat -asz IpReasmFails IpReasmTimeout IpReasmOKs Ip6ReasmFails",
    );
    vec![match full {
        Some(memory) => Advice {
            text: format!(
                "Fragments hold {} bytes: let them have more memory, or find out who sends fragments that never become whole.",
                memory.value
            ),
            confirm: counters,
            change: inside(&finding.scope, "sysctl -w net.ipv4.ipfrag_high_thresh=BYTES"),
            trade_off: "Memory for fragments can be filled by anyone who sends incomplete ones; a shorter net.ipv4.ipfrag_time frees it sooner.".to_owned(),
        },
        None => Advice {
            text: format!(
                "{failed} reassemblies a window are given up: fragments are lost on the way, and each takes its whole datagram along."
            ),
            confirm: counters,
            change: "let the senders send datagrams that fit the path (ip route get PEER shows its MTU), or mend the loss on the path".to_owned(),
            trade_off: "Smaller datagrams cost more headers; filters that drop fragments without ports are a common reason.".to_owned(),
        },
    }]
}
