//! Finished handshakes pile up in front of a listener that does not accept them.

use osi_common::layer::Layer;

use super::super::l5_session::file_descriptors_exhausted::FILE_DESCRIPTORS_EXHAUSTED;
use super::super::l7_application::{
    application_slow::APPLICATION_SLOW, application_stalled::APPLICATION_STALLED,
};
use super::super::owner;
use super::super::text::{inside, local, place, share, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::Meter;
use crate::layer::l4_transport::handshake::ACCEPTED;
use crate::layer::l4_transport::queues::{ACCEPT_QUEUE, LISTEN_OVERFLOWS};
use crate::scope::{Netns, Scope};

pub(in crate::verdict) static ACCEPT_QUEUE_OVERFLOW: Cause = Cause {
    id: "accept_queue_overflow",
    layer: Layer::L4,
    class: CauseClass::Capacity,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "A listener's queue of finished handshakes is full, so that new connections are dropped.",
    explained_by: &[&[
        &FILE_DESCRIPTORS_EXHAUSTED,
        &APPLICATION_STALLED,
        &APPLICATION_SLOW,
    ]],
    // A stopped or slow application, or one without descriptors, is the usual reason.
    suspects: &[Layer::L5, Layer::L7],
    reads: &[&ACCEPT_QUEUE, &LISTEN_OVERFLOWS],
    thresholds: &[
        Threshold::of("overflows", 3.0),
        Threshold::of("ratio", 0.001),
    ],
    detect,
    advise,
};

/// From this share on a queue may be the one that was full.
pub(super) const HALF: f64 = 0.5;

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        detect_in(facts, &state.netns, found);
    }
}

fn detect_in(facts: &Facts, netns: &Netns, found: &mut Vec<Sighting>) {
    let overflows = facts.count_in(&LISTEN_OVERFLOWS, netns);
    let accepted = facts.count_in(&ACCEPTED, netns);
    let here = |meter: &&Meter| meter.reading.scope.netns.as_ref() == Some(netns);
    let is_full = |meter: &&Meter| meter.ratio.is_some_and(|ratio| ratio >= 1.0);
    let full: Vec<_> = facts
        .map
        .meters(&ACCEPT_QUEUE)
        .filter(here)
        .filter(is_full)
        .collect();
    found.extend(
        full.iter()
            .map(|meter| full_listener(meter, overflows, accepted)),
    );
    let many = overflows as f64 > facts.limit("overflows")
        && share(overflows, accepted) > facts.limit("ratio");
    if full.is_empty() && many {
        // The queue has been emptied since: one that is still half full is the likely one, and rows come worst first. Who has one
        // or two waiting may be anybody.
        let fullest = facts
            .map
            .meters(&ACCEPT_QUEUE)
            .filter(here)
            .find(|meter| meter.ratio.is_some_and(|ratio| ratio >= HALF));
        found.push(emptied(netns, fullest, overflows, accepted));
    }
}

fn full_listener(meter: &Meter, overflows: u64, accepted: u64) -> Sighting {
    let scope = meter.reading.scope.clone();
    let backlog = meter.reading.capacity.unwrap_or(1.0) - 1.0;
    let mut evidence = vec![queue(meter)];
    if overflows > 0 {
        evidence.push(Evidence::new(
            LISTEN_OVERFLOWS.id,
            overflows as f64,
            "connections",
            "handshakes dropped because a queue was full",
        ));
    }
    let refusing = overflows > 0;
    Sighting {
        // Full at one instant and nobody refused is no fault; full again and again is a listener that does not accept.
        onset: if refusing {
            Onset::Hard
        } else {
            Onset::Sustained
        },
        confidence: if refusing {
            Confidence::Certain
        } else {
            Confidence::Likely
        },
        severity: if refusing {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence,
        impact: Impact {
            connections: overflows,
            share_ratio: share(overflows, accepted),
            peers: 0,
        },
        summary: format!(
            "The accept queue of {}{} is full: {} connections wait, backlog {backlog}, {overflows} dropped.",
            local(&scope),
            place(&scope),
            meter.reading.used
        ),
        scope,
    }
}

fn emptied(netns: &Netns, fullest: Option<&Meter>, overflows: u64, accepted: u64) -> Sighting {
    let scope = fullest.map_or_else(|| Scope::netns(netns), |meter| meter.reading.scope.clone());
    let mut evidence = vec![Evidence::new(
        LISTEN_OVERFLOWS.id,
        overflows as f64,
        "connections",
        "handshakes dropped because a queue was full",
    )];
    evidence.extend(fullest.map(queue));
    let listener = fullest.map_or_else(|| "a listener".to_owned(), |_| local(&scope));
    Sighting {
        onset: Onset::Hard,
        confidence: if fullest.is_some() {
            Confidence::Likely
        } else {
            Confidence::Possible
        },
        severity: Severity::Critical,
        evidence,
        impact: Impact {
            connections: overflows,
            share_ratio: share(overflows, accepted),
            peers: 0,
        },
        summary: format!(
            "The accept queue of {listener}{} overflowed: {overflows} handshakes dropped.",
            place(&scope)
        ),
        scope,
    }
}

fn queue(meter: &Meter) -> Evidence {
    let why = format!(
        "connections wait for accept(); {} is full",
        meter.reading.capacity.unwrap_or_default()
    );
    Evidence::new(ACCEPT_QUEUE.id, meter.reading.used, "connections", why)
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let port = ss_port(&finding.scope);
    let row = finding.row(&ACCEPT_QUEUE);
    let now = row.map_or_else(String::new, |row| format!(" ({} wait now)", row.value));
    let who = owner::who(finding);
    vec![
        Advice {
            text: format!("Find out why {who} does not accept{now}: stopped, busy, or out of descriptors."),
            confirm: inside(&finding.scope, &format!("ss -Hltnp{port}")),
            change: "make the application accept faster: more workers, or an accept loop of its own".to_owned(),
            trade_off: "none".to_owned(),
        },
        Advice {
            text: "Give bursts more room: the queue is as long as the smaller of listen()'s backlog and net.core.somaxconn.".to_owned(),
            confirm: inside(&finding.scope, "sysctl net.core.somaxconn"),
            change: inside(&finding.scope, "sysctl -w net.core.somaxconn=4096"),
            trade_off: "A longer queue only delays clients if the application stays slow; it must listen again to use it.".to_owned(),
        },
    ]
}
