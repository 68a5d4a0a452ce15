//! SYNs go out and nothing comes back.

use osi_common::handshake::Peer;
use osi_common::layer::Layer;

use super::super::history::Loss;
use super::super::on_the_way::ON_THE_WAY;
use super::super::text::{inside, percent, place, remote, ss_address};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::accept_queue_overflow::ACCEPT_QUEUE_OVERFLOW;
use super::conntrack_table_full::CONNTRACK_TABLE_FULL;
use super::nat_ports_exhausted::NAT_PORTS_EXHAUSTED;
use super::syn_queue_overflow::SYN_QUEUE_OVERFLOW;
use crate::layer::l4_transport::handshake::CONNECTS;
use crate::layer::l4_transport::retransmit::RETRANSMITS_HANDSHAKE;
use crate::scope::Scope;

pub(in crate::verdict) static HANDSHAKE_TIMEOUT: Cause = Cause {
    id: "handshake_timeout",
    layer: Layer::L4,
    class: CauseClass::Peer,
    onset: Onset::Statistical,
    severity: Severity::Critical,
    help: "Connection attempts to a peer get no answer at all, and nothing on this host dropped them.",
    explained_by: &[
        ON_THE_WAY,
        &[&ACCEPT_QUEUE_OVERFLOW, &SYN_QUEUE_OVERFLOW],
        &[&CONNTRACK_TABLE_FULL, &NAT_PORTS_EXHAUSTED],
    ],
    suspects: &[],
    reads: &[&CONNECTS, &RETRANSMITS_HANDSHAKE],
    thresholds: &[
        Threshold::of("retransmits", 3.0),
        Threshold::of("ratio", 0.05),
        Threshold::of("attempts", 2.0),
        Threshold::of("quiet_windows", 2.0),
        Threshold::of("lossy_ratio", 0.01),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for peer in facts.history.peers.records(facts.history.windows) {
        // Some wait for longer than the last windows, with ever longer pauses between their SYNs.
        let hanging = &peer.hanging;
        let hangs = hanging.open as f64 >= facts.limit("attempts")
            && hanging.silence as f64 > facts.limit("retransmits");
        if !hangs && peer.quiet_windows as f64 > facts.limit("quiet_windows") {
            continue;
        }
        let failing = failing(facts, &peer.sum, Loss::of(facts.window, peer.netns));
        let (failing, attempts) = if hangs {
            // What got through before is no part of them.
            let failing = failing.max(hanging.open);
            (failing, failing)
        } else {
            (failing, peer.sum.attempts.max(failing))
        };
        let ratio = failing as f64 / attempts.max(1) as f64;
        let silence = (peer.sum.syn_retransmits + peer.sum.timed_out).max(hanging.silence);
        let many = silence as f64 > facts.limit("retransmits")
            && failing as f64 >= facts.limit("attempts");
        if !many || ratio <= facts.limit("ratio") {
            continue;
        }
        let scope = Scope::peer(peer.netns, peer.address, Some(peer.port));
        let what = if hangs {
            "wait, and nobody had an answer since the first of them began".to_owned()
        } else {
            format!("of {attempts} attempts in the last windows have had no answer")
        };
        let attempts = facts.history.peers.attempts_in(peer.netns).max(failing);
        let evidence = vec![
            Evidence::new("unanswered", failing as f64, "connections", what),
            Evidence::new(
                RETRANSMITS_HANDSHAKE.id,
                peer.sum.syn_retransmits as f64,
                "segments",
                "SYNs sent again to this peer in the last windows",
            ),
            Evidence::new(
                "timed_out",
                peer.sum.timed_out as f64,
                "connections",
                "given up by the kernel with ETIMEDOUT",
            ),
        ];
        found.push(Sighting {
            onset: Onset::Statistical,
            confidence: Confidence::Likely,
            severity: Severity::Critical,
            evidence,
            impact: Impact {
                connections: failing,
                share_ratio: failing as f64 / attempts as f64,
                peers: 1,
            },
            summary: format!(
                "No answer from {}{}: {failing} connection attempts hang ({} of them all).",
                remote(&scope),
                place(&scope),
                percent(ratio)
            ),
            scope,
        });
    }
}

/// Attempts that got no answer of any kind. Where others get through, only those that ended without one count, and none
/// where the path loses payload as well: then handshakes fail as loss predicts, which is a fault of its own.
fn failing(facts: &Facts, sum: &Peer, loss: Loss) -> u64 {
    let Peer {
        attempts,
        connected,
        refused,
        timed_out,
        unreachable,
        port_exhausted,
        abandoned,
        other,
        syn_retransmits,
        retransmits: _,
        sessions_reset: _,
        sessions_timed_out: _,
    } = sum;
    if *connected == 0 {
        return attempts
            .saturating_sub(refused + unreachable + port_exhausted + other)
            .max(*timed_out);
    }
    if loss.ratio() > facts.limit("lossy_ratio") {
        return 0;
    }
    // An application gives up for reasons of its own too: no more of these count than SYNs went unanswered.
    timed_out + abandoned.min(syn_retransmits)
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let hanging = finding.evidence.first().map_or(0.0, |row| row.value);
    let (Some(address), Some(port)) = (finding.scope.remote, finding.scope.port) else {
        return Vec::new();
    };
    vec![Advice {
        text: format!(
            "{hanging} attempts to {} hang: the SYNs leave this host, so look for a filter or a dead host on the path.",
            remote(&finding.scope)
        ),
        confirm: inside(
            &finding.scope,
            &format!("ss -Htno state syn-sent dst {}", ss_address(address)),
        ),
        change: format!(
            "follow the path with: {}",
            inside(
                &finding.scope,
                &format!("traceroute -T -p {port} {address}")
            )
        ),
        trade_off: "A shorter connect timeout fails sooner and hides the fault.".to_owned(),
    }]
}
