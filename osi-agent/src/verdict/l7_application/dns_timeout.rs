//! Queries leave for a resolver and nothing comes back.

use osi_common::layer::Layer;

use super::super::on_the_way::{DATAGRAMS_LOST, ON_THE_WAY};
use super::super::slow::too_long_ns;
use super::super::text::{inside, percent, place, remote, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::dig;
use crate::layer::l7_application::dns::{DNS_NO_ANSWER, DNS_TIME, Resolved, resolved};

pub(in crate::verdict) static DNS_TIMEOUT: Cause = Cause {
    id: "dns_timeout",
    layer: Layer::L7,
    class: CauseClass::App,
    onset: Onset::Statistical,
    severity: Severity::Critical,
    help: "Queries to a resolver get no answer, and nothing on this host dropped them.",
    explained_by: &[ON_THE_WAY, DATAGRAMS_LOST],
    suspects: &[],
    reads: &[&DNS_NO_ANSWER, &DNS_TIME],
    thresholds: &[
        Threshold::of("queries", 3.0),
        Threshold::of("ratio", 0.1),
        Threshold::of("silent_s", 1.0),
        Threshold::of("times_usual", 3.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for row in resolved(facts.window) {
        let lost = row.outcomes.no_answer;
        let ratio = share(lost, row.ended() - lost);
        let many = |count: u64| count as f64 > facts.limit("queries");
        let usual_ns = facts.history.paces.usual_ns(&DNS_TIME, &row.scope);
        let silent_ns = too_long_ns(facts, "silent_s", usual_ns.unwrap_or(0));
        // Whom nobody asks any more is not missed.
        let is_asked = lost > 0 || row.waits.stuck > 0;
        if is_asked && many(row.in_a_row) && row.in_a_row_ns as f64 > silent_ns {
            found.push(silent(row));
        } else if many(lost) && ratio > facts.limit("ratio") {
            found.push(lossy(row, lost, ratio));
        }
    }
}

fn silent(row: Resolved) -> Sighting {
    let (count, seconds) = (row.in_a_row, row.in_a_row_ns as f64 / 1e9);
    let summary = format!(
        "{}{} answers no queries: {count} in a row, the first {seconds:.1} s ago.",
        remote(&row.scope),
        place(&row.scope)
    );
    let evidence = vec![
        Evidence::new(
            "in_a_row",
            count as f64,
            "queries",
            "were sent since it last answered",
        ),
        Evidence::new(
            "silent",
            row.in_a_row_ns as f64,
            "ns",
            "since the first of them",
        ),
        lost(&row),
    ];
    sighting(row, (count, 1.0), summary, evidence)
}

fn lossy(row: Resolved, count: u64, ratio: f64) -> Sighting {
    let summary = format!(
        "{}{} leaves {} of the queries without an answer: {count} in a window.",
        remote(&row.scope),
        place(&row.scope),
        percent(ratio)
    );
    let evidence = vec![lost(&row)];
    sighting(row, (count, ratio), summary, evidence)
}

fn lost(row: &Resolved) -> Evidence {
    Evidence::new(
        DNS_NO_ANSWER.id,
        row.outcomes.no_answer as f64,
        "queries",
        format!(
            "of {} that ended in the window had none, or were sent again before it came",
            row.ended()
        ),
    )
}

fn sighting(
    row: Resolved,
    (count, ratio): (u64, f64),
    summary: String,
    evidence: Vec<Evidence>,
) -> Sighting {
    Sighting {
        scope: row.scope,
        onset: Onset::Statistical,
        confidence: Confidence::Likely,
        severity: Severity::Critical,
        evidence,
        impact: Impact {
            connections: count,
            share_ratio: ratio,
            peers: 1,
        },
        summary,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let (Some(address), Some(port)) = (finding.scope.remote, finding.scope.port) else {
        return Vec::new();
    };
    vec![Advice {
        text: format!(
            "Queries to {} leave this host and nothing comes back: see whether it runs, then follow the path.",
            remote(&finding.scope)
        ),
        confirm: inside(
            &finding.scope,
            &format!("{} || echo no answer", dig(address, port, ". NS")),
        ),
        change: "start or relieve that resolver; until then, take it out of /etc/resolv.conf"
            .to_owned(),
        trade_off:
            "options timeout:1 hides a dead resolver behind the next one and asks more of it."
                .to_owned(),
    }]
}
