//! QUIC handshakes leave for a server and no hello comes back.

use osi_common::layer::Layer;

use super::super::on_the_way::{DATAGRAMS_LOST, ON_THE_WAY};
use super::super::text::{inside, place, remote};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::{target, time_over_tcp};
use crate::layer::l6_presentation::quic::{QUIC_NO_ANSWER, shaken};
use crate::layer::l6_presentation::tls::{self, Shaken};
use crate::scope::ScopeKind;

pub(in crate::verdict) static QUIC_UNANSWERED: Cause = Cause {
    id: "quic_unanswered",
    layer: Layer::L6,
    class: CauseClass::Loss,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "QUIC handshakes (HTTP/3) with a server get no answer: something on the way takes UDP away, or nobody has the port. Clients wait, and go on over TCP.",
    explained_by: &[ON_THE_WAY, DATAGRAMS_LOST],
    suspects: &[],
    reads: &[&QUIC_NO_ANSWER],
    thresholds: &[
        Threshold::of("handshakes", 3.0),
        // A client sends its hello again after a second (RFC 9002, section 6.2.2); this is longer than that and its answer take.
        Threshold::of("silent_s", 2.0),
    ],
    detect,
    advise,
};

/// What was given up after thirty seconds tells of the past, so that only those in flight are held against the server.
fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let over_tcp = tls::shaken(facts.window);
    // What a client of this host does not hear says nothing of this host's port: others get what they ask for.
    let asked = shaken(facts.window).into_iter();
    for row in asked.filter(|row| row.scope.kind == ScopeKind::Peer) {
        // A router may see one direction alone.
        let netns = row.scope.netns.as_ref();
        let is_two_way = row.waits.has_passed || !netns.is_some_and(|netns| facts.forwards(netns));
        let is_silent = row.waits.stuck as f64 > facts.limit("handshakes")
            && row.waits.stuck_ns as f64 > facts.limit("silent_s") * 1e9;
        if is_silent && is_two_way {
            let beside = over_tcp.iter().filter(|tls| is_same(&row, tls));
            let completed = beside.map(|tls| tls.outcomes.completed()).sum();
            found.push(sighting(row, completed));
        }
    }
}

/// Whether it is the same server, asked over the other transport.
fn is_same(row: &Shaken, tls: &Shaken) -> bool {
    let server = |row: &Shaken| (row.scope.netns.clone(), row.scope.remote, row.scope.port);
    server(row) == server(tls)
}

fn sighting(row: Shaken, over_tcp: u64) -> Sighting {
    let (count, since_ns) = (row.waits.stuck, row.waits.stuck_ns);
    let mut evidence = vec![
        Evidence::new(
            "in_a_row",
            count as f64,
            "handshakes",
            "wait since the last one that had an answer",
        ),
        Evidence::new("silent", since_ns as f64, "ns", "since the first of them"),
    ];
    if row.outcomes.no_answer > 0 {
        evidence.push(Evidence::new(
            QUIC_NO_ANSWER.id,
            row.outcomes.no_answer as f64,
            "handshakes",
            "had none for thirty seconds when the window ended",
        ));
    }
    if over_tcp > 0 {
        evidence.push(Evidence::new(
            OVER_TCP,
            over_tcp as f64,
            "handshakes",
            "of TLS over TCP with the same server and port ended well in the window",
        ));
    }
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Likely,
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: count,
            // Clients go on over TCP: what it hurts is no traffic.
            share_ratio: 0.0,
            peers: 1,
        },
        summary: format!(
            "{}{} answers no QUIC handshakes: {count} in a row, the first {:.1} s ago{}.",
            remote(&row.scope),
            place(&row.scope),
            since_ns as f64 / 1e9,
            if over_tcp > 0 {
                "; over TCP it does"
            } else {
                ""
            }
        ),
        scope: row.scope,
    }
}

/// The evidence that the server itself is well.
const OVER_TCP: &str = "over_tcp";

fn advise(finding: &Finding) -> Vec<Advice> {
    let to = target(&finding.scope);
    let answers_tcp = finding.evidence.iter().any(|row| row.signal == OVER_TCP);
    let text = if answers_tcp {
        "it answers over TCP, so look for a firewall on the way that lets no UDP through, then whether anybody there has the UDP port"
    } else {
        "see whether it answers over TCP: if so, a firewall on the way lets no UDP through, or nobody has the UDP port; if not, it is the server"
    };
    vec![Advice {
        text: format!("QUIC handshakes leave for {to} and no hello comes back: {text}."),
        confirm: inside(
            &finding.scope,
            &time_over_tcp(&to),
        ),
        change: format!(
            "let UDP through to port {} and back, datagrams of 1200 bytes and more included; or take h3 out of the server's Alt-Svc header and HTTPS records",
            finding.scope.port.unwrap_or_default()
        ),
        trade_off: "Without h3 each connection begins a round trip later, and a lost segment holds all its streams up."
            .to_owned(),
    }]
}
