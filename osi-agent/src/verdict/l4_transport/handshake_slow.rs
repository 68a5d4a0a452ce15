//! Handshakes take longer than they usually do.
//!
//! Only those whose SYN was not sent again are looked at: the others take TCP's timers, which is loss (`packet_loss`) or silence
//! (`handshake_timeout`). So are handshakes that have not ended: after a second their SYN is sent again.

use osi_common::histogram::Coarse;
use osi_common::layer::Layer;

use super::super::history::{handshakes_of, times};
use super::super::l1_physical::{
    cloud_allowance_exceeded::CLOUD_ALLOWANCE_EXCEEDED, link_degraded::LINK_DEGRADED,
    link_microburst::LINK_MICROBURST, link_saturated::LINK_SATURATED,
    rx_backlog_overflow::RX_BACKLOG_OVERFLOW,
};
use super::super::l2_data_link::{
    egress_queue_overflow::EGRESS_QUEUE_OVERFLOW, neighbor_unreachable::NEIGHBOR_UNREACHABLE,
};
use super::super::l3_network::packet_processing_saturated::PACKET_PROCESSING_SATURATED;
use super::super::text::{inside, percent, place, remote, share, ss_address, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::packet_loss::PACKET_LOSS;
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
    ]],
    // A machine that is too busy to answer a SYN is slow there as well.
    suspects: &[Layer::L7],
    reads: &[&TCP_HANDSHAKE_CLIENT, &TCP_HANDSHAKE_SERVER],
    thresholds: &[
        Threshold {
            name: "slow",
            default: 3.0,
        },
        Threshold {
            name: "ratio",
            default: 0.01,
        },
        // Clients of a listener are many and far apart: a few on a bad radio are no fault of anybody here.
        Threshold {
            name: "listener_ratio",
            default: 0.1,
        },
        Threshold {
            name: "times_usual",
            default: 3.0,
        },
        // Over lo, beside eight busy loops on two CPUs, the slowest of some thousand handshakes took 36 ms.
        Threshold {
            name: "budget_s",
            default: 0.1,
        },
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for (scope, times) in times(facts.window) {
        let Some(usual_ns) = facts.history.paces.usual_ns(&scope) else {
            continue;
        };
        let budget_ns = facts.limit("budget_s") * 1e9;
        let limit_ns = budget_ns.max(facts.limit("times_usual") * usual_ns as f64) as u64;
        let slow = times.longer_than(limit_ns);
        let ratio = share(slow, times.count() - slow);
        let most = if scope.kind == ScopeKind::Listener {
            facts.limit("listener_ratio")
        } else {
            facts.limit("ratio")
        };
        if slow as f64 > facts.limit("slow") && ratio > most {
            found.push(sighting(scope, &times, slow, ratio, usual_ns));
        }
    }
}

fn sighting(scope: Scope, times: &Coarse, slow: u64, ratio: f64, usual_ns: u64) -> Sighting {
    let p99_ns = times.quantile_ns(9_900).unwrap_or_default();
    let whom = if scope.kind == ScopeKind::Listener {
        format!("at port {}", scope.port.unwrap_or_default())
    } else {
        format!("with {}", remote(&scope))
    };
    let ms = |ns: u64| ns as f64 / 1e6;
    let summary = format!(
        "Handshakes {whom}{} take up to {:.0} ms ({:.1} ms is usual): {slow} in a window, {} of them.",
        place(&scope),
        ms(p99_ns),
        ms(usual_ns),
        percent(ratio)
    );
    let why = format!("99 of 100 handshakes {whom} took at most this");
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Likely,
        severity: Severity::Warn,
        evidence: vec![
            Evidence::new(handshakes_of(&scope).id, p99_ns as f64, "ns", why),
            Evidence::new(
                "usual",
                usual_ns as f64,
                "ns",
                "the same in healthy windows",
            ),
            Evidence::new(
                "slow",
                slow as f64,
                "connections",
                "handshakes that took longer than is allowed for, none of them with a SYN sent again",
            ),
        ],
        impact: Impact {
            connections: slow,
            share_ratio: ratio,
            peers: u64::from(scope.kind == ScopeKind::Peer),
        },
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
