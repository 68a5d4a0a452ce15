//! A peer that this host sends to takes no more data.

use osi_common::layer::Layer;

use super::super::l7_application::{
    application_slow::APPLICATION_SLOW, application_stalled::APPLICATION_STALLED,
};
use super::super::text::{inside, percent, place, remote, ss_address};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::tcp_memory_pressure::TCP_MEMORY_PRESSURE;
use crate::layer::l4_transport::window_control::{STALLED_SENDS, WINDOW_PROBES};
use crate::scope::{Netns, Scope};
use crate::snapshot::Stalled;

pub(in crate::verdict) static PEER_NOT_READING: Cause = Cause {
    id: "peer_not_reading",
    layer: Layer::L4,
    class: CauseClass::Peer,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "A peer that this host connected to has closed its receive window: the application there does not read.",
    // A host without memory for TCP closes the windows of its own sockets, and lets its senders wait.
    // Where this host sees the application that does not read, or not soon enough, that is the root.
    explained_by: &[&[
        &TCP_MEMORY_PRESSURE,
        &APPLICATION_STALLED,
        &APPLICATION_SLOW,
    ]],
    suspects: &[],
    reads: &[&STALLED_SENDS],
    thresholds: &[
        Threshold::of("seconds", 1.0),
        // One connection of many may wait for a reason of its own; a service that hangs lets many wait.
        Threshold::of("ratio", 0.05),
    ],
    detect,
    advise,
};

/// Fewer connections than this are no share of what a host does.
const FEW: u64 = 3;

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        let stuck = state.stalled.iter().filter(|peer| {
            f64::from(peer.longest_ms) >= facts.limit("seconds") * 1000.0
                && ratio(peer) > facts.limit("ratio")
        });
        found.extend(stuck.map(|peer| sighting(facts, &state.netns, peer)));
    }
}

fn ratio(peer: &Stalled) -> f64 {
    peer.connections as f64 / peer.open.max(1) as f64
}

fn sighting(facts: &Facts, netns: &Netns, peer: &Stalled) -> Sighting {
    let scope = Scope::peer(netns, peer.remote, Some(peer.port));
    let mut evidence = vec![
        Evidence::new(
            STALLED_SENDS.id,
            peer.connections as f64,
            "connections",
            format!("of {} to {} wait for it to read", peer.open, remote(&scope)),
        ),
        Evidence::new(
            "waiting",
            f64::from(peer.longest_ms) * 1e6,
            "ns",
            "since the longest waiting one could send data",
        ),
        Evidence::new(
            "unsent",
            peer.waiting_bytes as f64,
            "bytes",
            "wait in this host to be sent to it",
        ),
    ];
    let probes = facts.count_in(&WINDOW_PROBES, netns);
    if probes > 0 {
        evidence.push(Evidence::new(
            WINDOW_PROBES.id,
            probes as f64,
            "segments",
            "probes of closed windows in this namespace in the window",
        ));
    }
    Sighting {
        onset: Onset::Statistical,
        // The peer itself says so, in every acknowledgement.
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: peer.connections,
            // A printer without paper is one connection, whatever share of its peer's it is.
            share_ratio: if peer.connections < FEW {
                0.0
            } else {
                ratio(peer).min(1.0)
            },
            peers: 1,
        },
        summary: format!(
            "{}{} does not read what it is sent: {} of {} connections wait ({}), one for {:.0} s.",
            remote(&scope),
            place(&scope),
            peer.connections,
            peer.open,
            percent(ratio(peer)),
            f64::from(peer.longest_ms) / 1000.0
        ),
        scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let (Some(address), Some(port)) = (finding.scope.remote, finding.scope.port) else {
        return Vec::new();
    };
    let unsent = finding
        .evidence
        .iter()
        .find(|row| row.signal == "unsent")
        .map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!(
            "{unsent} bytes wait for {}: look on that host why its application does not read (stopped, busy, or blocked itself).",
            remote(&finding.scope)
        ),
        confirm: inside(
            &finding.scope,
            &format!("ss -Htno dst {} dport = :{port}", ss_address(address)),
        ),
        change: "make the application on the peer read, or let the sender give up sooner (TCP_USER_TIMEOUT)"
            .to_owned(),
        trade_off: "A larger receive buffer on the peer only delays the stop.".to_owned(),
    }]
}
