//! A resolver takes several times as long as it usually does.

use osi_common::layer::Layer;

use super::super::l1_physical::link_saturated::LINK_SATURATED;
use super::super::l2_data_link::egress_queue_overflow::EGRESS_QUEUE_OVERFLOW;
use super::super::l3_network::packet_processing_saturated::PACKET_PROCESSING_SATURATED;
use super::super::l4_transport::packet_loss::PACKET_LOSS;
use super::super::slow::{Slow, slow_scopes};
use super::super::text::{inside, remote};
use super::super::{
    Advice, Cause, CauseClass, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use super::dig;
use crate::layer::l7_application::dns::DNS_TIME;
use crate::scope::Scope;

pub(in crate::verdict) static DNS_SLOW: Cause = Cause {
    id: "dns_slow",
    layer: Layer::L7,
    class: CauseClass::Delay,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "A resolver answers several times as slowly as it usually does.",
    explained_by: &[&[
        &LINK_SATURATED,
        &EGRESS_QUEUE_OVERFLOW,
        &PACKET_PROCESSING_SATURATED,
        &PACKET_LOSS,
    ]],
    suspects: &[],
    reads: &[&DNS_TIME],
    thresholds: &[
        Threshold::of("slow", 3.0),
        // What is not remembered takes its time: a few of them are always slow.
        Threshold::of("ratio", 0.1),
        Threshold::of("times_usual", 3.0),
        Threshold::of("budget_s", 0.1),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let slow = slow_scopes(facts, &DNS_TIME);
    found.extend(slow.map(|(scope, slow)| sighting(scope, &slow)));
}

fn sighting(scope: Scope, slow: &Slow) -> Sighting {
    let whom = remote(&scope);
    let evidence = slow.evidence(
        format!("99 of 100 answers of {whom} took at most this"),
        "queries",
        "took longer than is allowed for",
    );
    slow.sighting(&format!("Answers of the resolver {whom}"), evidence, scope)
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let (Some(address), Some(port)) = (finding.scope.remote, finding.scope.port) else {
        return Vec::new();
    };
    let ms = finding.row(&DNS_TIME).map_or(0.0, |row| row.value) / 1e6;
    vec![Advice {
        text: format!(
            "{} takes {ms:.0} ms to answer: look at its load and at the name servers that it asks, or at the way to it.",
            remote(&finding.scope)
        ),
        confirm: inside(&finding.scope, &format!("{} +stats", dig(address, port, ". NS"))),
        change: "relieve that resolver or the way to it; a cache on this host (systemd-resolved, unbound) asks it less".to_owned(),
        trade_off: "A cache answers with what was true a while ago.".to_owned(),
    }]
}
