//! A server answers requests with errors of its own.

use core::ops::Range;

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use super::super::facts::Seen;
use super::super::l4_transport::{
    connection_refused::CONNECTION_REFUSED, conntrack_table_full::CONNTRACK_TABLE_FULL,
    ephemeral_ports_exhausted::EPHEMERAL_PORTS_EXHAUSTED, handshake_timeout::HANDSHAKE_TIMEOUT,
    nat_ports_exhausted::NAT_PORTS_EXHAUSTED,
};
use super::super::l5_session::{
    file_descriptors_exhausted::FILE_DESCRIPTORS_EXHAUSTED, sessions_reset::SESSIONS_RESET,
    sessions_timed_out::SESSIONS_TIMED_OUT,
};
use super::super::on_the_way::ON_THE_WAY;
use super::super::text::{percent, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::application_stalled::APPLICATION_STALLED;
use super::dependency_slow::DEPENDENCY_SLOW;
use super::dns_failing::DNS_FAILING;
use super::dns_timeout::DNS_TIMEOUT;
use super::{curl, whom};
use crate::layer::l7_application::http::{
    Answered, HTTP_ANSWERS, HTTP_NO_ANSWER, HTTP_SERVER_ERRORS, answered,
};
use crate::scope::{Scope, ScopeKind};

/// Codes and paths that are told as examples.
const EXAMPLES: usize = 3;
/// The codes that say that the server failed.
const SERVER_FAILED: Range<u32> = 500..600;

/// The evidence that says how many of the errors are those of a gateway.
const GATEWAY_ERRORS: &str = "gateway_errors";

/// Whether most of the errors of a finding say that others failed the server.
pub(in crate::verdict) fn is_of_a_gateway(finding: &Finding) -> bool {
    2.0 * finding.value(GATEWAY_ERRORS) > finding.value(HTTP_SERVER_ERRORS.id)
}

pub(in crate::verdict) static HTTP_ERRORS: Cause = Cause {
    id: "http_errors",
    layer: Layer::L7,
    class: CauseClass::App,
    onset: Onset::Statistical,
    severity: Severity::Critical,
    help: "A server answers HTTP/1 requests with errors of its own (5xx).",
    explained_by: &[
        ON_THE_WAY,
        &[
            &CONNECTION_REFUSED,
            &EPHEMERAL_PORTS_EXHAUSTED,
            &HANDSHAKE_TIMEOUT,
            &CONNTRACK_TABLE_FULL,
            &NAT_PORTS_EXHAUSTED,
            &FILE_DESCRIPTORS_EXHAUSTED,
            &SESSIONS_RESET,
            &SESSIONS_TIMED_OUT,
        ],
        &[
            &DEPENDENCY_SLOW,
            &APPLICATION_STALLED,
            &DNS_FAILING,
            &DNS_TIMEOUT,
        ],
    ],
    suspects: &[],
    reads: &[&HTTP_SERVER_ERRORS, &HTTP_ANSWERS, &HTTP_NO_ANSWER],
    thresholds: &[Threshold::of("answers", 5.0), Threshold::of("ratio", 0.05)],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for row in answered(facts.window) {
        let (failed, all) = (row.outcomes.errors(), row.outcomes.answers());
        let ratio = share(failed, all - failed);
        if failed as f64 > facts.limit("answers") && ratio > facts.limit("ratio") {
            found.push(sighting(facts, row, ratio));
        }
    }
}

fn sighting(facts: &Facts, row: Answered, ratio: f64) -> Sighting {
    let (failed, all) = (row.outcomes.errors(), row.outcomes.answers());
    let evidence = vec![
        Evidence::new(
            HTTP_SERVER_ERRORS.id,
            failed as f64,
            "answers",
            format!(
                "are errors of the server{}",
                examples(facts, &row.scope, SERVER_FAILED)
            ),
        ),
        Evidence::new(
            GATEWAY_ERRORS,
            row.outcomes.gateway_error as f64,
            "answers",
            "of these say that whom it asks fails it (502, 503, 504)",
        ),
        Evidence::new(
            HTTP_ANSWERS.id,
            all as f64,
            "answers",
            "of this server in the window",
        ),
        Evidence::new(
            HTTP_NO_ANSWER.id,
            row.outcomes.no_answer as f64,
            "requests",
            "had no answer at all when their connection ended",
        ),
    ];
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Critical,
        evidence,
        impact: Impact {
            connections: failed,
            share_ratio: ratio,
            peers: u64::from(row.scope.kind == ScopeKind::Peer),
        },
        summary: format!(
            "{}{} answers {} of the requests with errors (5xx): {failed} of {all} in a window.",
            whom(&row.scope),
            place(&row.scope),
            percent(ratio)
        ),
        scope: row.scope,
    }
}

/// `, such as 503 for GET /a`, where the window has such examples with one of these codes.
pub(in crate::verdict) fn examples(facts: &Facts, scope: &Scope, codes: Range<u32>) -> String {
    let Some(netns) = &scope.netns else {
        return String::new();
    };
    let is_of_it = |seen: &Seen| {
        let address = scope.remote.or(scope.local);
        let is_its_address =
            address.is_none_or(|address| address.is_unspecified() || seen.remote == Some(address));
        codes.contains(&seen.code) && is_its_address && scope.port == Some(seen.remote_port)
    };
    let seen = facts
        .samples(Kind::HttpFailed, netns)
        .filter(is_of_it)
        .map(|seen| {
            seen.name.map_or_else(
                || seen.code.to_string(),
                |name| format!("{} for {name}", seen.code),
            )
        });
    let mut seen: Vec<String> = seen.collect();
    seen.sort_unstable();
    seen.dedup();
    seen.truncate(EXAMPLES);
    if seen.is_empty() {
        return String::new();
    }
    format!(", such as {}", seen.join(", "))
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let who = whom(&finding.scope);
    vec![Advice {
        text: format!(
            "{who} says itself that it fails: its log says why. 502, 503 and 504 are a proxy's whose own servers fail it."
        ),
        confirm: curl(&finding.scope),
        change:
            "repair what the log names; take a server that fails out of the proxy's list until then"
                .to_owned(),
        trade_off: "The servers that are left have to carry its requests as well.".to_owned(),
    }]
}
