//! Somebody speaks plain HTTP to a port of TLS.

use osi_common::layer::Layer;

use super::super::l7_application::http_errors::examples;
use super::super::text::{inside, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::{server, target};
use crate::layer::l6_presentation::plaintext::{PLAINTEXT_REQUESTS, Plain, plain};
use crate::scope::ScopeKind;

pub(in crate::verdict) static PLAINTEXT_ON_TLS_PORT: Cause = Cause {
    id: "plaintext_on_tls_port",
    layer: Layer::L6,
    class: CauseClass::Config,
    onset: Onset::Hard,
    severity: Severity::Warn,
    help: "Plain HTTP is spoken to a port of TLS: a client, a proxy or a health check has the wrong scheme.",
    explained_by: &[],
    suspects: &[],
    reads: &[&PLAINTEXT_REQUESTS],
    // Scanners ask any port of a public host like this, now and then; whom this host asks is its own affair.
    thresholds: &[Threshold::of("served", 4.0), Threshold::of("asked", 1.0)],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for row in plain(facts.window) {
        let is_asked = row.scope.kind == ScopeKind::Peer;
        let enough = facts.limit(if is_asked { "asked" } else { "served" });
        // Who gives up has no answer, either: that alone is few.
        let few = row.refused == 0 && (row.unanswered as f64) < facts.limit("served");
        if !few && (row.refused + row.unanswered) as f64 >= enough {
            let sure = if row.refused > 0 {
                Confidence::Certain
            } else {
                Confidence::Likely
            };
            found.push(sighting(facts, row, sure, "a window"));
        }
    }
    for (scope, refused, secured) in facts.history.plaintexts.going_on() {
        if found.iter().all(|sighting| sighting.scope != *scope) {
            let row = Plain {
                scope: scope.clone(),
                refused,
                unanswered: 0,
                secured,
            };
            found.push(sighting(
                facts,
                row,
                Confidence::Likely,
                "the last thirty windows",
            ));
        }
    }
}

fn sighting(facts: &Facts, row: Plain, confidence: Confidence, during: &str) -> Sighting {
    let Plain {
        scope,
        refused,
        unanswered,
        secured,
    } = row;
    let count = refused + unanswered;
    let such = examples(facts, &scope, 400..500);
    let who = if scope.kind == ScopeKind::Peer {
        "This host sends"
    } else {
        "Clients send"
    };
    Sighting {
        onset: Onset::Hard,
        confidence,
        severity: Severity::Warn,
        evidence: vec![Evidence::new(
            PLAINTEXT_REQUESTS.id,
            count as f64,
            "requests",
            format!("came in plain text and had a refusal or nothing for an answer{such}"),
        )],
        impact: Impact {
            connections: count,
            share_ratio: share(count, secured),
            peers: u64::from(scope.kind == ScopeKind::Peer),
        },
        summary: format!(
            "{who} plain HTTP to {}{}, which speaks TLS: {count} requests in {during}.",
            server(&scope),
            place(&scope)
        ),
        scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let to = target(&finding.scope);
    let (text, change) = if finding.scope.kind == ScopeKind::Peer {
        (
            format!(
                "A client on this host asks {to} with http:// where https:// is spoken: find the setting with that address."
            ),
            "let the client, the proxy or the health check use https, or the server's port for plain HTTP",
        )
    } else {
        (
            format!("Clients ask {to} with http://: the server's log has their addresses."),
            "correct the scheme at the clients; a balancer in front may have its health check, or its way to the servers, set to plain HTTP",
        )
    };
    vec![Advice {
        text,
        confirm: inside(
            &finding.scope,
            &format!(
                "curl -sko /dev/null -m 3 -w '%{{http_code}}\\n' http://{to}/ || echo no answer in HTTP"
            ),
        ),
        change: change.to_owned(),
        trade_off: "none".to_owned(),
    }]
}
