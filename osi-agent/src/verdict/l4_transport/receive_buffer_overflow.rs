//! What arrives finds the receive buffer of its socket full.

use osi_common::layer::Layer;

use super::super::l7_application::application_slow::APPLICATION_SLOW;
use super::super::l7_application::application_stalled::APPLICATION_STALLED;
use super::super::owner;
use super::super::text::{inside, local, percent, place, share, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::tcp_memory_pressure::TCP_MEMORY_PRESSURE;
use crate::layer::l4_transport::buffers::{
    TCP_RECEIVE_DROPS, UDP_BUFFER_DROPS, UDP_RECEIVE_BUFFERS, losers, scope,
};
use crate::layer::l4_transport::checksums::DATAGRAMS_RECEIVED;
use crate::layer::l4_transport::memory::TCP_MEMORY;
use crate::layer::l4_transport::retransmit::SEGMENTS_RECEIVED;
use crate::scope::{Proto, Scope};
use crate::snapshot::{Mib, NetnsState};

pub(in crate::verdict) static RECEIVE_BUFFER_OVERFLOW: Cause = Cause {
    id: "receive_buffer_overflow",
    layer: Layer::L4,
    class: CauseClass::Capacity,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "A program reads its socket more slowly than data arrives, so that the receive buffer is full and what finds no room is dropped.",
    // Where the host saves memory, buffers of TCP take less than their programs leave room for.
    explained_by: &[&[
        &TCP_MEMORY_PRESSURE,
        &APPLICATION_STALLED,
        &APPLICATION_SLOW,
    ]],
    suspects: &[Layer::L7],
    reads: &[&UDP_BUFFER_DROPS, &TCP_RECEIVE_DROPS],
    thresholds: &[
        Threshold::of("packets", 10.0),
        Threshold::of("ratio", 0.001),
        Threshold::of("socket_ratio", 0.5),
        Threshold::of("memory_ratio", 0.95),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        found.extend(datagrams(facts, state));
        found.extend(segments(facts, state));
    }
}

/// Whether so much of all is a fault.
fn is_much(facts: &Facts, dropped: u64, taken: u64) -> bool {
    dropped as f64 > facts.limit("packets") && share(dropped, taken) > facts.limit("ratio")
}

fn datagrams(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let dropped = facts.count_in(&UDP_BUFFER_DROPS, &state.netns);
    let taken = facts.count_in(&DATAGRAMS_RECEIVED, &state.netns);
    if !is_much(facts, dropped, taken) {
        return None;
    }
    let here = losers(facts.window).filter(|(netns, ..)| **netns == state.netns);
    let worst = here.max_by_key(|(_, socket, drops)| (*drops, socket.cookie));
    // The counter is read a moment before the sockets are.
    let named =
        worst.filter(|(.., drops)| *drops as f64 >= facts.limit("socket_ratio") * dropped as f64);
    let mut evidence = vec![Evidence::new(
        UDP_BUFFER_DROPS.id,
        dropped as f64,
        "packets",
        UDP_BUFFER_DROPS.help,
    )];
    evidence.extend(named.iter().flat_map(|(_, socket, drops)| {
        let limit = format!(
            "wait in its receive buffer, which takes {}",
            socket.buffer_bytes
        );
        let held = socket.queued_bytes as f64;
        [
            Evidence::new(
                "socket_drops",
                *drops as f64,
                "packets",
                "dropped by this socket since it was read before",
            ),
            Evidence::new(UDP_RECEIVE_BUFFERS.id, held, "bytes", limit),
        ]
    }));
    let (scope, whose) = match named {
        Some((netns, socket, _)) => {
            let scope = scope(netns, socket);
            let whose = format!("of UDP socket {}", local(&scope));
            (scope, whose)
        }
        None => (udp(state), "of UDP sockets".to_owned()),
    };
    Some(sighting(
        scope,
        &whose,
        (dropped, taken),
        "datagrams",
        evidence,
    ))
}

/// TCP keeps its peers from sending more than there is room for; what is dropped all the same is told by namespace only.
fn segments(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let dropped = facts.count_in(&TCP_RECEIVE_DROPS, &state.netns);
    let taken = facts.count_in(&SEGMENTS_RECEIVED, &state.netns);
    let memory = facts
        .meter(&TCP_MEMORY, &Scope::host())
        .and_then(|meter| meter.ratio);
    // Then it is the host's memory that is short, and no buffer.
    let short = memory.is_some_and(|ratio| ratio >= facts.limit("memory_ratio"));
    if short || !is_much(facts, dropped, taken.saturating_sub(dropped)) {
        return None;
    }
    let pruned = facts.window.mib_in(&state.netns, Mib::PruneCalled);
    let evidence = vec![
        Evidence::new(
            TCP_RECEIVE_DROPS.id,
            dropped as f64,
            "packets",
            TCP_RECEIVE_DROPS.help,
        ),
        Evidence::new(
            "TcpExtPruneCalled",
            pruned as f64,
            "events",
            "times that a receive queue was compacted for lack of room",
        ),
    ];
    let scope = Scope {
        proto: Some(Proto::Tcp),
        ..Scope::netns(&state.netns)
    };
    let counts = (dropped, taken.saturating_sub(dropped));
    Some(sighting(
        scope,
        "of TCP sockets",
        counts,
        "segments",
        evidence,
    ))
}

fn udp(state: &NetnsState) -> Scope {
    Scope {
        proto: Some(Proto::Udp),
        ..Scope::netns(&state.netns)
    }
}

fn sighting(
    scope: Scope,
    whose: &str,
    (dropped, taken): (u64, u64),
    what: &str,
    evidence: Vec<Evidence>,
) -> Sighting {
    let lost = share(dropped, taken);
    Sighting {
        summary: format!(
            "The receive buffer {whose}{} is full: {dropped} {what} were dropped, {} of those that arrived.",
            place(&scope),
            percent(lost)
        ),
        scope,
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: lost,
            peers: 0,
        },
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let dropped = finding.evidence.first().map_or(0.0, |row| row.value);
    let sockets = if finding.scope.proto == Some(Proto::Tcp) {
        "ss -Htnmp"
    } else {
        "ss -Huanmp"
    };
    let port = ss_port(&finding.scope);
    let who = owner::who(finding);
    vec![
        Advice {
            text: format!("{dropped} packets a window find no room: find out why {who} does not read faster (the last figure of skmem, d, counts each socket's drops)."),
            confirm: inside(&finding.scope, &format!("{sockets}{port}")),
            change: "make the program read faster: more threads with SO_REUSEPORT, recvmmsg, or less work between two reads".to_owned(),
            trade_off: "none".to_owned(),
        },
        Advice {
            text: "Give bursts more room: a program asks for it by SO_RCVBUF, as far as net.core.rmem_max.".to_owned(),
            confirm: "sysctl net.core.rmem_max net.core.rmem_default".to_owned(),
            change: "sysctl -w net.core.rmem_max=BYTES, and let the program ask for as much".to_owned(),
            trade_off: "A larger buffer takes bursts and adds delay; it does not help a program that is too slow for the mean.".to_owned(),
        },
    ]
}
