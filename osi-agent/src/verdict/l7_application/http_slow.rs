//! A server takes several times as long as it usually does until its answers begin, or answers no more.

use osi_common::layer::Layer;

use super::super::l3_network::packet_processing_saturated::PACKET_PROCESSING_SATURATED;
use super::super::l4_transport::{
    accept_queue_overflow::ACCEPT_QUEUE_OVERFLOW, handshake_timeout::HANDSHAKE_TIMEOUT,
    packet_loss::PACKET_LOSS,
};
use super::super::l5_session::sessions_timed_out::SESSIONS_TIMED_OUT;
use super::super::on_the_way::ON_THE_WAY;
use super::super::slow::{Silent, Slow, silent_scopes, slow_scopes};
use super::super::text::{inside, ss_address, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use super::application_slow::APPLICATION_SLOW;
use super::application_stalled::APPLICATION_STALLED;
use super::cpu_starved::CPU_STARVED;
use super::dependency_slow::DEPENDENCY_SLOW;
use super::dns_slow::DNS_SLOW;
use super::dns_timeout::DNS_TIMEOUT;
use super::{curl, whom};
use crate::layer::l7_application::http::{HTTP_TIME, awaited};
use crate::scope::Scope;

pub(in crate::verdict) static HTTP_SLOW: Cause = Cause {
    id: "http_slow",
    layer: Layer::L7,
    class: CauseClass::Delay,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "A server needs several times as long as it usually does until its answers to HTTP/1 requests begin, or begins none.",
    explained_by: &[
        ON_THE_WAY,
        // Where nobody is reached or let in any more, what was asked before waits.
        &[
            &PACKET_LOSS,
            &PACKET_PROCESSING_SATURATED,
            &ACCEPT_QUEUE_OVERFLOW,
            &HANDSHAKE_TIMEOUT,
            &SESSIONS_TIMED_OUT,
        ],
        &[
            &DEPENDENCY_SLOW,
            &APPLICATION_SLOW,
            &APPLICATION_STALLED,
            &CPU_STARVED,
            &DNS_SLOW,
            &DNS_TIMEOUT,
        ],
    ],
    suspects: &[],
    reads: &[&HTTP_TIME],
    thresholds: &[
        Threshold::of("slow", 3.0),
        // Some requests take their time at every server.
        Threshold::of("ratio", 0.1),
        Threshold::of("times_usual", 3.0),
        Threshold::of("budget_s", 0.2),
        Threshold::of("silent_s", 1.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let slow = slow_scopes(facts, &HTTP_TIME);
    found.extend(slow.map(|(scope, slow)| sighting(scope, &slow)));
    let silent = silent_scopes(facts, &HTTP_TIME, awaited(facts.window));
    found.extend(silent.map(|(scope, silent)| {
        let what = format!("HTTP requests to {}", whom(&scope));
        silent.sighting(&what, scope)
    }));
}

fn sighting(scope: Scope, slow: &Slow) -> Sighting {
    let whom = whom(&scope);
    let evidence = slow.evidence(
        format!("99 of 100 answers of {whom} began within this"),
        "requests",
        "took longer than is allowed for",
    );
    slow.sighting(&format!("HTTP answers of {whom}"), evidence, scope)
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let ms = finding.row(&HTTP_TIME).map_or(0.0, |row| row.value) / 1e6;
    let whom = whom(&finding.scope);
    let is_silent = finding
        .evidence
        .iter()
        .any(|row| row.signal == Silent::WAITING);
    let (text, confirm) = if is_silent {
        let text = format!(
            "Nothing has come from {whom} for {ms:.0} ms: find out whether it is stopped, blocked, or waits for somebody in turn."
        );
        (text, sockets(&finding.scope))
    } else {
        let text = format!(
            "{whom} needs {ms:.0} ms until an answer begins: look at what it works on, and at whom it asks in turn."
        );
        (text, curl(&finding.scope))
    };
    vec![Advice {
        text,
        confirm,
        change: "relieve that server or whom it asks; answer from a cache what does not change"
            .to_owned(),
        trade_off: "A cache answers with what was true a while ago.".to_owned(),
    }]
}

/// The command that shows the connections with such a server, and what lies in them: it asks nobody who does not answer.
fn sockets(scope: &Scope) -> String {
    let ends = match (scope.remote, scope.port) {
        (Some(address), Some(port)) => format!(" dst {} dport = :{port}", ss_address(address)),
        (Some(_) | None, _) => ss_port(scope),
    };
    inside(scope, &format!("ss -Htnp state established{ends}"))
}
