//! A peer answers that nobody listens there.

use osi_common::layer::Layer;

use super::super::text::{inside, percent, place, remote};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::no_listener::NO_LISTENER;
use crate::layer::PeerDelta;
use crate::layer::l4_transport::handshake::{CONNECT_FAILURES, CONNECTS};
use crate::scope::Scope;

pub(in crate::verdict) static CONNECTION_REFUSED: Cause = Cause {
    id: "connection_refused",
    layer: Layer::L4,
    class: CauseClass::Peer,
    onset: Onset::Hard,
    severity: Severity::Warn,
    help: "A peer refuses connections to one of its ports: nobody listens, or a filter rejects them.",
    explained_by: &[&[&NO_LISTENER]],
    suspects: &[],
    reads: &[&CONNECT_FAILURES],
    thresholds: &[Threshold::of("refused", 3.0), Threshold::of("ratio", 0.05)],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let peers = facts.window.peers();
    for peer in &peers {
        let (refused, attempts) = (
            peer.delta.refused,
            peer.delta.attempts.max(peer.delta.refused),
        );
        let ratio = refused as f64 / attempts.max(1) as f64;
        let many = refused as f64 > facts.limit("refused") && ratio > facts.limit("ratio");
        if many && !is_first_of_two(peer, &peers) {
            found.push(sighting(peer, &peers, refused, ratio));
        }
    }
}

/// Whoever connects to `localhost` tries both families in turn, and a service listens on one of them as a rule: nobody is hurt
/// by the other's refusals where each of them is made good.
fn is_first_of_two(refusing: &PeerDelta, peers: &[PeerDelta]) -> bool {
    let makes_good = |other: &PeerDelta| {
        other.address.is_loopback()
            && other.address.is_ipv4() != refusing.address.is_ipv4()
            && (&other.netns, other.port) == (&refusing.netns, refusing.port)
            && other.delta.connected >= refusing.delta.refused
    };
    refusing.address.is_loopback() && peers.iter().any(makes_good)
}

fn sighting(peer: &PeerDelta, peers: &[PeerDelta], refused: u64, ratio: f64) -> Sighting {
    let scope = Scope::peer(&peer.netns, peer.address, Some(peer.port));
    let here = peers.iter().filter(|other| other.netns == peer.netns);
    let all: u64 = here
        .map(|other| other.delta.attempts.max(other.delta.refused))
        .sum();
    let why = format!(
        "of {} attempts to {} were refused",
        peer.delta.attempts,
        remote(&scope)
    );
    Sighting {
        // Where some get through, it may be a restart between two of the window's ends: it must go on.
        onset: if peer.delta.connected == 0 {
            Onset::Hard
        } else {
            Onset::Sustained
        },
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence: vec![
            Evidence::new(CONNECT_FAILURES.id, refused as f64, "connections", why),
            Evidence::new(
                CONNECTS.id,
                peer.delta.attempts as f64,
                "connections",
                "attempts to this peer in the window",
            ),
        ],
        impact: Impact {
            connections: refused,
            share_ratio: refused as f64 / all.max(1) as f64,
            peers: 1,
        },
        summary: format!(
            "{}{} refuses connections: {refused} in a window, {} of the attempts.",
            remote(&scope),
            place(&scope),
            percent(ratio)
        ),
        scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let refused = finding.evidence.first().map_or(0.0, |row| row.value);
    // Reads only; `nc` to the port would send, and fail just as the clients do.
    let probe = "nstat -asz TcpAttemptFails";
    vec![Advice {
        text: format!(
            "{refused} connects a window are refused: start the service on {}, or correct the address that clients use.",
            remote(&finding.scope)
        ),
        confirm: inside(&finding.scope, probe),
        change: "start the service on the peer, or point the client at the right address and port"
            .to_owned(),
        trade_off: "none".to_owned(),
    }]
}
