//! TLS handshakes take several times as long as they usually do, or do not get on.

use osi_common::layer::Layer;

use super::super::l1_physical::link_saturated::LINK_SATURATED;
use super::super::l2_data_link::egress_queue_overflow::EGRESS_QUEUE_OVERFLOW;
use super::super::l3_network::{
    mtu_black_hole::MTU_BLACK_HOLE, packet_processing_saturated::PACKET_PROCESSING_SATURATED,
};
use super::super::l4_transport::packet_loss::PACKET_LOSS;
use super::super::l7_application::{
    application_slow::APPLICATION_SLOW, application_stalled::APPLICATION_STALLED,
    cpu_starved::CPU_STARVED,
};
use super::super::slow::{Slow, slow_scopes};
use super::super::text::{inside, place};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::{target, time_over_tcp, whom};
use crate::layer::l6_presentation::tls::{Shaken, TLS_HANDSHAKE, shaken};
use crate::scope::{Scope, ScopeKind};

pub(in crate::verdict) static TLS_HANDSHAKE_SLOW: Cause = Cause {
    id: "tls_handshake_slow",
    layer: Layer::L6,
    class: CauseClass::Delay,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "TLS handshakes with a server, or at a port of this host, take several times as long as they usually do, or stand still.",
    explained_by: &[&[
        &LINK_SATURATED,
        &EGRESS_QUEUE_OVERFLOW,
        &PACKET_PROCESSING_SATURATED,
        &MTU_BLACK_HOLE,
        &PACKET_LOSS,
        &APPLICATION_SLOW,
        &APPLICATION_STALLED,
        &CPU_STARVED,
    ]],
    suspects: &[],
    reads: &[&TLS_HANDSHAKE],
    thresholds: &[
        Threshold::of("slow", 3.0),
        Threshold::of("ratio", 0.1),
        Threshold::of("times_usual", 3.0),
        Threshold::of("budget_s", 0.2),
        // What stands still for so long does not come to its end by itself.
        Threshold::of("stuck_s", 2.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for row in shaken(facts.window) {
        let is_stuck = row.waits.stuck as f64 > facts.limit("slow")
            && row.waits.stuck_ns as f64 > facts.limit("stuck_s") * 1e9;
        if is_stuck {
            found.push(stuck(row));
        }
    }
    let slow = slow_scopes(facts, &TLS_HANDSHAKE);
    found.extend(slow.map(|(scope, slow)| sighting(scope, &slow)));
}

fn sighting(scope: Scope, slow: &Slow) -> Sighting {
    let whom = whom(&scope);
    let evidence = slow.evidence(
        format!("99 of 100 handshakes {whom} took at most this"),
        "handshakes",
        "took longer than is allowed for",
    );
    slow.sighting(&format!("TLS handshakes {whom}"), evidence, scope)
}

fn stuck(row: Shaken) -> Sighting {
    let (count, since_ns) = (row.waits.stuck, row.waits.stuck_ns);
    let evidence = vec![
        Evidence::new(
            TLS_HANDSHAKE.id,
            since_ns as f64,
            "ns",
            "the oldest handshake has gone on for so long",
        ),
        Evidence::new(
            "stuck",
            count as f64,
            "handshakes",
            "began since the last one that came to its end",
        ),
    ];
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Likely,
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: count,
            share_ratio: 1.0,
            peers: u64::from(row.scope.kind == ScopeKind::Peer),
        },
        summary: format!(
            "TLS handshakes {}{} stand still: {count} of them, the oldest for {:.1} s.",
            whom(&row.scope),
            place(&row.scope),
            since_ns as f64 / 1e9
        ),
        scope: row.scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let ms = finding.row(&TLS_HANDSHAKE).map_or(0.0, |row| row.value) / 1e6;
    let whom = whom(&finding.scope);
    let to = target(&finding.scope);
    vec![Advice {
        text: format!(
            "TLS handshakes {whom} take {ms:.0} ms: look at the server's CPU (keys are its dearest work), then at the way to it."
        ),
        confirm: inside(&finding.scope, &time_over_tcp(&to)),
        change:
            "give the server more CPU, use ECDSA keys, and let clients go on with earlier sessions"
                .to_owned(),
        trade_off: "Sessions that go on for long make less of forward secrecy.".to_owned(),
    }]
}
