//! A peer that this host asks takes several times as long as it usually does to answer, or answers no more.

use osi_common::layer::Layer;

use super::super::l4_transport::{handshake_slow::HANDSHAKE_SLOW, packet_loss::PACKET_LOSS};
use super::super::slow::{Slow, silent_scopes, slow_scopes};
use super::super::text::{inside, remote, ss_address};
use super::super::{
    Advice, Cause, CauseClass, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use super::application_stalled::APPLICATION_STALLED;
use crate::layer::l7_application::exchange::{DEPENDENCY_TIME, depended};
use crate::scope::Scope;

pub(in crate::verdict) static DEPENDENCY_SLOW: Cause = Cause {
    id: "dependency_slow",
    layer: Layer::L7,
    class: CauseClass::Delay,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "A service that this host asks answers several times as slowly as it usually does, or not at all.",
    explained_by: &[&[&PACKET_LOSS, &HANDSHAKE_SLOW, &APPLICATION_STALLED]],
    suspects: &[],
    reads: &[&DEPENDENCY_TIME],
    thresholds: &[
        Threshold::of("slow", 3.0),
        Threshold::of("ratio", 0.1),
        Threshold::of("times_usual", 3.0),
        Threshold::of("budget_s", 0.1),
        Threshold::of("silent_s", 1.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let slow = slow_scopes(facts, &DEPENDENCY_TIME);
    found.extend(slow.map(|(scope, slow)| slowly(scope, &slow)));
    let silent = silent_scopes(facts, &DEPENDENCY_TIME, depended(facts.window));
    found.extend(silent.map(|(scope, silent)| {
        let what = format!("Requests to {}", remote(&scope));
        silent.sighting(&what, scope)
    }));
}

fn slowly(scope: Scope, slow: &Slow) -> Sighting {
    let whom = remote(&scope);
    let evidence = slow.evidence(
        format!("99 of 100 answers of {whom} took at most this"),
        "requests",
        "took longer than is allowed for",
    );
    slow.sighting(&format!("Answers of {whom}"), evidence, scope)
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let (Some(address), Some(port)) = (finding.scope.remote, finding.scope.port) else {
        return Vec::new();
    };
    let ms = finding.row(&DEPENDENCY_TIME).map_or(0.0, |row| row.value) / 1e6;
    vec![Advice {
        text: format!(
            "{} takes {ms:.0} ms to answer: look there, or at the way to it, where round-trip times are as long.",
            remote(&finding.scope)
        ),
        confirm: inside(
            &finding.scope,
            &format!("ss -Htinp dst {} dport = :{port}", ss_address(address)),
        ),
        change: "relieve or repair that service; here, answer without it or sooner give up on it"
            .to_owned(),
        trade_off: "A shorter time-out with retries adds load to a service that is slow already."
            .to_owned(),
    }]
}
