//! An application takes several times as long as it usually does to answer its requests, or to begin with them.

use osi_common::layer::Layer;

use super::super::history::times_of;
use super::super::owner;
use super::super::slow::{Slow, slow};
use super::super::text::{inside, percent, place, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Onset, Severity, Sighting,
    Threshold,
};
use super::application_stalled::APPLICATION_STALLED;
use super::cpu_starved::CPU_STARVED;
use super::dependency_slow::DEPENDENCY_SLOW;
use super::dns_slow::DNS_SLOW;
use super::listener;
use crate::layer::Signal;
use crate::layer::l7_application::exchange::{QUEUEING_SHARE, REQUEST_DWELL, RESPONSE_TIME};
use crate::scope::Scope;

pub(in crate::verdict) static APPLICATION_SLOW: Cause = Cause {
    id: "application_slow",
    layer: Layer::L7,
    class: CauseClass::Delay,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "An application answers several times as slowly as it usually does, or has more requests than it can begin with.",
    explained_by: &[&[
        &DEPENDENCY_SLOW,
        &APPLICATION_STALLED,
        &CPU_STARVED,
        &DNS_SLOW,
    ]],
    suspects: &[],
    reads: &[&RESPONSE_TIME, &REQUEST_DWELL],
    thresholds: &[
        Threshold::of("slow", 3.0),
        Threshold::of("ratio", 0.1),
        Threshold::of("times_usual", 3.0),
        Threshold::of("budget_s", 0.1),
        // Requests that wait are its fault only where they do little else.
        Threshold::of("queueing", 0.8),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let mut seen: Vec<Scope> = Vec::new();
    for wanted in APPLICATION_SLOW.reads {
        for (signal, scope, times) in times_of(facts.window, |signal| signal.id == wanted.id) {
            let queueing = queueing(facts, &scope);
            let is_queued = queueing >= facts.limit("queueing");
            if signal.id == REQUEST_DWELL.id && !is_queued || seen.contains(&scope) {
                continue;
            }
            if let Some(slow) = slow(facts, signal, &scope, &times, facts.limit("ratio")) {
                seen.push(scope.clone());
                found.push(sighting(scope, &slow, queueing));
            }
        }
    }
}

fn queueing(facts: &Facts, scope: &Scope) -> f64 {
    let meter = facts.meter(&QUEUEING_SHARE, scope);
    meter.and_then(|meter| meter.ratio).unwrap_or(0.0)
}

fn is_answering(signal: &Signal) -> bool {
    signal.id == RESPONSE_TIME.id
}

fn sighting(scope: Scope, slow: &Slow, queueing: f64) -> Sighting {
    let (at, place) = (listener(&scope), place(&scope));
    let (what, why) = if is_answering(slow.signal) {
        ("Answers", "99 of 100 answers took at most this")
    } else {
        (
            "Requests wait unread: reads",
            "99 of 100 requests waited at most this to be read",
        )
    };
    let mut evidence = slow.evidence(
        why.to_owned(),
        "requests",
        "took longer than is allowed for",
    );
    evidence.push(Evidence::new(
        QUEUEING_SHARE.id,
        queueing,
        "ratio",
        "of the time that requests spend here they wait to be read",
    ));
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Likely,
        severity: Severity::Warn,
        evidence,
        impact: slow.impact(&scope),
        summary: format!(
            "{what} of the application at {at}{place} take {}: {} in a window, {} of them.",
            slow.words(),
            slow.count,
            percent(slow.ratio)
        ),
        scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let who = owner::who(finding);
    let port = ss_port(&finding.scope);
    let row = finding.row(&RESPONSE_TIME);
    let text = match row {
        Some(row) => format!(
            "{who} takes {:.0} ms to answer: find out what it works on (perf top -p PID), or what it waits for in turn.",
            row.value / 1e6
        ),
        None => format!(
            "Requests wait until {who} begins with them: it has fewer workers than there are requests, or one of them does too much."
        ),
    };
    vec![Advice {
        text,
        confirm: inside(&finding.scope, &format!("ss -Htnp state established{port}")),
        change:
            "more workers, or less work for each request; fewer requests by a limit in front of it"
                .to_owned(),
        trade_off:
            "More workers help only where CPUs are free and what they wait for can take more."
                .to_owned(),
    }]
}
