//! A resolver answers, and says that it can not, or that names do not exist which usually do.

use osi_common::dns::{NXDOMAIN, Outcomes};
use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use super::super::facts::Seen;
use super::super::text::{inside, percent, place, remote, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::dig;
use crate::layer::l7_application::dns::{
    DNS_ANSWERS, DNS_ERRORS, DNS_NO_SUCH_NAME, Resolved, answers, errors, resolved,
};

/// Names that are told as examples.
const NAMES: usize = 3;

pub(in crate::verdict) static DNS_FAILING: Cause = Cause {
    id: "dns_failing",
    layer: Layer::L7,
    class: CauseClass::App,
    onset: Onset::Statistical,
    severity: Severity::Critical,
    help: "A resolver answers queries with errors (SERVFAIL, REFUSED and the like), or says of many more names than usual that they do not exist.",
    explained_by: &[],
    suspects: &[],
    reads: &[&DNS_ANSWERS, &DNS_ERRORS, &DNS_NO_SUCH_NAME],
    thresholds: &[
        Threshold::of("answers", 5.0),
        Threshold::of("ratio", 0.1),
        Threshold::of("times_usual", 3.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for row in resolved(facts.window) {
        let all = answers(&row.outcomes);
        let ratio = |count: u64| share(count, all - count);
        let many = |count: u64| {
            count as f64 > facts.limit("answers") && ratio(count) > facts.limit("ratio")
        };
        let (failed, unknown) = (errors(&row.outcomes), row.outcomes.nxdomain);
        if many(failed) {
            found.push(failing(facts, row, failed, ratio(failed)));
        } else if let Some(usual) = facts.history.unknown_names.usual(&row.scope)
            && many(unknown)
            && ratio(unknown) > facts.limit("times_usual") * usual
        {
            found.push(unknown_names(facts, row, ratio(unknown), usual));
        }
    }
}

fn failing(facts: &Facts, row: Resolved, failed: u64, ratio: f64) -> Sighting {
    let whom = remote(&row.scope);
    let codes = codes(&row.outcomes);
    let summary = format!(
        "{whom}{} fails to resolve names: {} of its answers are errors ({codes}).",
        place(&row.scope),
        percent(ratio)
    );
    let why = format!("{codes}{}", examples(facts, &row, |code| code != NXDOMAIN));
    let evidence = vec![
        Evidence::new(DNS_ERRORS.id, failed as f64, "answers", why),
        all(&row),
    ];
    sighting(row, Severity::Critical, (failed, ratio), summary, evidence)
}

fn unknown_names(facts: &Facts, row: Resolved, ratio: f64, usual: f64) -> Sighting {
    let unknown = row.outcomes.nxdomain;
    let summary = format!(
        "{whom}{} says of {} of the names that they do not exist ({} is usual).",
        place(&row.scope),
        percent(ratio),
        percent(usual),
        whom = remote(&row.scope)
    );
    let why = format!("NXDOMAIN{}", examples(facts, &row, |code| code == NXDOMAIN));
    let evidence = vec![
        Evidence::new(DNS_NO_SUCH_NAME.id, unknown as f64, "answers", why),
        Evidence::new("usual", usual, "ratio", "the same in healthy windows"),
        all(&row),
    ];
    // Whoever asks for the wrong names is as likely.
    sighting(row, Severity::Warn, (unknown, ratio), summary, evidence)
}

fn all(row: &Resolved) -> Evidence {
    let count = answers(&row.outcomes);
    Evidence::new(
        DNS_ANSWERS.id,
        count as f64,
        "answers",
        "of this resolver in the window",
    )
}

fn sighting(
    row: Resolved,
    severity: Severity,
    (count, ratio): (u64, f64),
    summary: String,
    evidence: Vec<Evidence>,
) -> Sighting {
    Sighting {
        scope: row.scope,
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity,
        evidence,
        impact: Impact {
            connections: count,
            share_ratio: ratio,
            peers: 1,
        },
        summary,
    }
}

/// `12 SERVFAIL, 3 REFUSED`.
fn codes(outcomes: &Outcomes) -> String {
    let rows = [
        (outcomes.servfail, "SERVFAIL"),
        (outcomes.refused, "REFUSED"),
        (outcomes.formerr, "FORMERR"),
        (outcomes.notimp, "NOTIMP"),
        (outcomes.other, "other codes"),
    ];
    let there = rows.into_iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> = there
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    words.join(", ")
}

/// `, such as for a.example, b.example`, where the window has such examples.
fn examples(facts: &Facts, row: &Resolved, wanted: fn(u32) -> bool) -> String {
    let Some(netns) = &row.scope.netns else {
        return String::new();
    };
    let asked = |seen: &Seen| {
        (seen.remote, Some(seen.remote_port)) == (row.scope.remote, row.scope.port)
            && wanted(seen.code)
    };
    let mut names: Vec<String> = facts
        .samples(Kind::DnsFailed, netns)
        .filter(asked)
        .filter_map(|seen| seen.name)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(NAMES);
    if names.is_empty() {
        return String::new();
    }
    format!(", such as for {}", names.join(", "))
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let (Some(address), Some(port)) = (finding.scope.remote, finding.scope.port) else {
        return Vec::new();
    };
    let whom = remote(&finding.scope);
    vec![if finding.row(&DNS_ERRORS).is_some() {
        Advice {
            text: format!("{whom} is reached and can not answer: look at its log, and at the name servers that it asks itself."),
            confirm: inside(&finding.scope, &dig(address, port, ". NS")),
            change: "repair its way to the name servers, its DNSSEC trust or its access rules; until then, list another resolver first in /etc/resolv.conf".to_owned(),
            trade_off: "Another resolver may not know the names of this network.".to_owned(),
        }
    } else {
        Advice {
            text: format!("{whom} says that names do not exist: a record was removed, or a program asks for wrong ones."),
            confirm: inside(&finding.scope, &dig(address, port, "NAME")),
            change: "restore the records, or correct the name where it is configured (mind the search list in /etc/resolv.conf)".to_owned(),
            trade_off: "That a name does not exist is remembered for as long as its zone says, also after it is restored.".to_owned(),
        }
    }]
}
