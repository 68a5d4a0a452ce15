//! Handshakes take longer than they usually do.
//!
//! Only those whose SYN was not sent again are looked at: the others take TCP's timers, which is loss (`packet_loss`) or silence
//! (`handshake_timeout`). So are handshakes that have not ended: after a second their SYN is sent again.

use osi_common::layer::Layer;

use super::super::history::times_of;
use super::super::l1_physical::{
    cloud_allowance_exceeded::CLOUD_ALLOWANCE_EXCEEDED, link_degraded::LINK_DEGRADED,
    link_microburst::LINK_MICROBURST, link_saturated::LINK_SATURATED,
    rx_backlog_overflow::RX_BACKLOG_OVERFLOW,
};
use super::super::l2_data_link::{
    egress_queue_overflow::EGRESS_QUEUE_OVERFLOW, neighbor_unreachable::NEIGHBOR_UNREACHABLE,
};
use super::super::l3_network::packet_processing_saturated::PACKET_PROCESSING_SATURATED;
use super::super::l7_application::application_stalled::APPLICATION_STALLED;
use super::super::queueing::queueing;
use super::super::slow::{Slow, slow};
use super::super::text::{inside, percent, place, remote, ss_address, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use super::packet_loss::PACKET_LOSS;
use crate::layer::Signal;
use crate::layer::l4_transport::handshake::{TCP_HANDSHAKE_CLIENT, TCP_HANDSHAKE_SERVER};
use crate::scope::{Scope, ScopeKind};

pub(in crate::verdict) static HANDSHAKE_SLOW: Cause = Cause {
    id: "handshake_slow",
    layer: Layer::L4,
    class: CauseClass::Delay,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "TCP handshakes take several times as long as they usually do with this peer or at this port: something on the way waits.",
    explained_by: &[&[
        &LINK_SATURATED,
        &LINK_DEGRADED,
        &LINK_MICROBURST,
        &CLOUD_ALLOWANCE_EXCEEDED,
        &RX_BACKLOG_OVERFLOW,
        &EGRESS_QUEUE_OVERFLOW,
        &NEIGHBOR_UNREACHABLE,
        &PACKET_PROCESSING_SATURATED,
        &PACKET_LOSS,
        &APPLICATION_STALLED,
    ]],
    // A machine that is too busy to answer a SYN is slow there as well.
    suspects: &[Layer::L7],
    reads: &[&TCP_HANDSHAKE_CLIENT, &TCP_HANDSHAKE_SERVER],
    thresholds: &[
        Threshold::of("slow", 3.0),
        Threshold::of("ratio", 0.01),
        // Clients of a listener are many and far apart: a few on a bad radio are no fault of anybody here.
        Threshold::of("listener_ratio", 0.1),
        Threshold::of("times_usual", 3.0),
        // Over lo, beside eight busy loops on two CPUs, the slowest of some thousand handshakes took 36 ms.
        Threshold::of("budget_s", 0.1),
    ],
    detect,
    advise,
};

/// What handshakes may always take, as it is configured.
pub fn handshake_budget_ns(configured: &dyn Fn(&str, &str) -> Option<f64>) -> u64 {
    (HANDSHAKE_SLOW.limit("budget_s", configured) * 1e9) as u64
}

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let of_handshakes =
        |signal: &Signal| HANDSHAKE_SLOW.reads.iter().any(|row| row.id == signal.id);
    for (signal, scope, times) in times_of(facts.window, of_handshakes) {
        let most = if scope.kind == ScopeKind::Listener {
            facts.limit("listener_ratio")
        } else {
            facts.limit("ratio")
        };
        let slow = slow(facts, signal, &scope, &times, most);
        found.extend(slow.map(|slow| {
            let mut seen = sighting(scope, &slow);
            seen.evidence.extend(queueing(facts));
            seen
        }));
    }
}

fn sighting(scope: Scope, slow: &Slow) -> Sighting {
    let whom = if scope.kind == ScopeKind::Listener {
        format!("at port {}", scope.port.unwrap_or_default())
    } else {
        format!("with {}", remote(&scope))
    };
    let summary = format!(
        "Handshakes {whom}{} take {}: {} in a window, {} of them.",
        place(&scope),
        slow.words(),
        slow.count,
        percent(slow.ratio)
    );
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Likely,
        severity: Severity::Warn,
        evidence: slow.evidence(
            format!("99 of 100 handshakes {whom} took at most this"),
            "connections",
            "handshakes that took longer than is allowed for, none of them with a SYN sent again",
        ),
        impact: slow.impact(&scope),
        summary,
        scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let ms = finding.evidence.first().map_or(0.0, |row| row.value) / 1e6;
    let filter = match finding.scope.remote {
        Some(remote) if finding.scope.kind == ScopeKind::Peer => {
            format!(" dst {}", ss_address(remote))
        }
        Some(_) | None => ss_port(&finding.scope),
    };
    vec![Advice {
        text: format!(
            "Handshakes take {ms:.0} ms: compare the round-trip times of open connections, then look where packets wait: a queue on the path, or a CPU at one end."
        ),
        confirm: inside(&finding.scope, &format!("ss -Htin{filter}")),
        change: "relieve the queue or the host that delays (mtr -T shows where the delay begins)"
            .to_owned(),
        trade_off: "Longer connect timeouts hide the delay and keep clients waiting.".to_owned(),
    }]
}
