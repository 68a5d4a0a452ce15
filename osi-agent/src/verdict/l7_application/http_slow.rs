//! A server takes several times as long as it usually does until its answers begin.

use osi_common::layer::Layer;

use super::super::l3_network::packet_processing_saturated::PACKET_PROCESSING_SATURATED;
use super::super::l4_transport::packet_loss::PACKET_LOSS;
use super::super::on_the_way::ON_THE_WAY;
use super::super::slow::{Slow, slow_scopes};
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
use crate::layer::l7_application::http::HTTP_TIME;
use crate::scope::Scope;

pub(in crate::verdict) static HTTP_SLOW: Cause = Cause {
    id: "http_slow",
    layer: Layer::L7,
    class: CauseClass::Delay,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "A server needs several times as long as it usually does until its answers to HTTP/1 requests begin.",
    explained_by: &[
        ON_THE_WAY,
        &[&PACKET_LOSS, &PACKET_PROCESSING_SATURATED],
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
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let slow = slow_scopes(facts, &HTTP_TIME);
    found.extend(slow.map(|(scope, slow)| sighting(scope, &slow)));
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
    vec![Advice {
        text: format!(
            "{} needs {ms:.0} ms until an answer begins: look at what it works on, and at whom it asks in turn.",
            whom(&finding.scope)
        ),
        confirm: curl(&finding.scope),
        change: "relieve that server or whom it asks; answer from a cache what does not change"
            .to_owned(),
        trade_off: "A cache answers with what was true a while ago.".to_owned(),
    }]
}
