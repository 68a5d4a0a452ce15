//! Clients and servers do not agree: one of them refuses, or leaves.

use std::collections::BTreeMap;

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;
use osi_common::wire::UDP;

use super::super::facts::Seen;
use super::super::l4_transport::packet_loss::PACKET_LOSS;
use super::super::l5_session::sessions_reset::SESSIONS_RESET;
use super::super::on_the_way::ON_THE_WAY;
use super::super::text::{inside, percent, place, quoted, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::{target, whom};
use crate::event::tls_failure;
use crate::layer::Signal;
use crate::layer::l6_presentation::tls::{
    Shaken, TLS_ABORTED, TLS_CLIENT_ALERTS, TLS_NO_ANSWER, TLS_SERVER_ALERTS, shaken,
};
use crate::scope::{Scope, ScopeKind};

/// Alerts and names that are told as examples.
const EXAMPLES: usize = 3;

/// The evidence that a client's name for the server is.
const NAME: &str = "server_name";

pub(in crate::verdict) static TLS_HANDSHAKE_FAILED: Cause = Cause {
    id: "tls_handshake_failed",
    layer: Layer::L6,
    class: CauseClass::Config,
    onset: Onset::Statistical,
    severity: Severity::Critical,
    help: "TLS handshakes with a server, or at a port of this host, end in alerts or with their connection: certificates, versions or ciphers do not fit.",
    explained_by: &[ON_THE_WAY, &[&PACKET_LOSS, &SESSIONS_RESET]],
    suspects: &[],
    reads: &[
        &TLS_CLIENT_ALERTS,
        &TLS_SERVER_ALERTS,
        &TLS_ABORTED,
        &TLS_NO_ANSWER,
    ],
    thresholds: &[
        Threshold::of("handshakes", 3.0),
        Threshold::of("ratio", 0.05),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for row in shaken(facts.window) {
        let failed = failed(&row);
        let ratio = share(failed, row.outcomes.completed());
        if failed as f64 > facts.limit("handshakes") && ratio > facts.limit("ratio") {
            found.push(sighting(facts, row, failed, ratio));
        }
    }
    for (scope, refused, completed) in facts.history.refusals.going_on() {
        let ratio = share(refused, completed);
        let is_new = found.iter().all(|sighting| sighting.scope != *scope);
        if is_new && refused as f64 > facts.limit("handshakes") && ratio > facts.limit("ratio") {
            found.push(going_on(scope.clone(), refused, ratio));
        }
    }
}

/// Whether an end said in an alert what it does not agree with. A reset may follow, and is no cause of it.
pub(in crate::verdict) fn is_said(finding: &Finding) -> bool {
    let alerts = [&TLS_CLIENT_ALERTS, &TLS_SERVER_ALERTS];
    alerts
        .into_iter()
        .any(|signal| finding.row(signal).is_some())
}

/// Whether most of what failed was said in an alert: it came through, so that nothing on the way is why.
pub(in crate::verdict) fn is_mostly_said(finding: &Finding) -> bool {
    let of = |signal: &Signal| finding.value(signal.id);
    let is_peer = finding.scope.kind == ScopeKind::Peer;
    let aborted = if is_peer { of(&TLS_ABORTED) } else { 0.0 };
    of(&TLS_CLIENT_ALERTS) + of(&TLS_SERVER_ALERTS) > of(&TLS_NO_ANSWER) + aborted
}

/// Few clients come, and they go on refusing.
fn going_on(scope: Scope, refused: u64, ratio: f64) -> Sighting {
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Critical,
        evidence: vec![Evidence::new(
            TLS_CLIENT_ALERTS.id,
            refused as f64,
            "handshakes",
            "alerts of the client in the last ten windows",
        )],
        impact: Impact {
            connections: refused,
            share_ratio: ratio,
            peers: u64::from(scope.kind == ScopeKind::Peer),
        },
        summary: format!(
            "TLS handshakes {}{} fail: clients refused {} of them in the last ten windows, {refused} in all.",
            whom(&scope),
            place(&scope),
            percent(ratio)
        ),
        scope,
    }
}

/// Scanners and health checks say hello to a port and leave: that is the client's affair, where it is not this host.
fn failed(row: &Shaken) -> u64 {
    let failed = row.outcomes.failed();
    if row.scope.kind == ScopeKind::Peer {
        failed
    } else {
        failed - row.outcomes.aborted()
    }
}

/// Who asks for versions that no server should speak any more, as scanners do, is refused and no fault; a server that clients
/// refuse is one.
fn severity(facts: &Facts, row: &Shaken) -> (Severity, Confidence) {
    let refused = row.outcomes.client_alert as f64 > facts.limit("handshakes");
    if row.scope.kind == ScopeKind::Peer || refused {
        (Severity::Critical, Confidence::Certain)
    } else {
        (Severity::Warn, Confidence::Likely)
    }
}

fn sighting(facts: &Facts, row: Shaken, failed: u64, ratio: f64) -> Sighting {
    let seen = examples(facts, &row);
    let (severity, confidence) = severity(facts, &row);
    let outcomes = &row.outcomes;
    let rows: [(&'static Signal, u64, &str); 4] = [
        (
            &TLS_CLIENT_ALERTS,
            outcomes.client_alert,
            "alerts of the client",
        ),
        (
            &TLS_SERVER_ALERTS,
            outcomes.server_alert,
            "alerts of the server",
        ),
        (
            &TLS_ABORTED,
            outcomes.aborted(),
            "whose connection ended first",
        ),
        (
            &TLS_NO_ANSWER,
            outcomes.no_answer,
            "to which the server said nothing",
        ),
    ];
    let mut evidence = Vec::new();
    let mut words = Vec::new();
    for (signal, count, said) in rows.into_iter().filter(|row| row.1 > 0) {
        let reasons = seen.get(signal.id).map_or("", String::as_str);
        let why = match reasons {
            "" => said.to_owned(),
            reasons => format!("{said}: {reasons}"),
        };
        words.push(format!("{count} {why}"));
        evidence.push(Evidence::new(signal.id, count as f64, "handshakes", why));
    }
    if let Some(names) = seen.get(NAME) {
        let asked = format!("clients asked for {names}");
        evidence.push(Evidence::new(NAME, 1.0, "name", asked));
    }
    Sighting {
        onset: Onset::Statistical,
        confidence,
        severity,
        impact: Impact {
            connections: failed,
            share_ratio: ratio,
            peers: u64::from(row.scope.kind == ScopeKind::Peer),
        },
        summary: format!(
            "TLS handshakes {}{} fail: {} of them in a window ({}).",
            whom(&row.scope),
            place(&row.scope),
            percent(ratio),
            words.join(", ")
        ),
        scope: row.scope,
        evidence,
    }
}

/// What the window's examples of this server or port say: reasons by the signal that counts them, and names.
fn examples(facts: &Facts, row: &Shaken) -> BTreeMap<&'static str, String> {
    let Some(netns) = &row.scope.netns else {
        return BTreeMap::new();
    };
    // At a port of this host the other end is the client; it is kept as the remote one.
    let is_of = |seen: &Seen| match row.scope.remote {
        Some(remote) => (seen.remote, Some(seen.remote_port)) == (Some(remote), row.scope.port),
        None => Some(seen.local_port) == row.scope.port,
    };
    let mut words: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    // QUIC's are told beside them, and may have the same port.
    let examples = facts
        .samples(Kind::TlsFailed, netns)
        .filter(|seen| seen.protocol != u32::from(UDP) && is_of(seen));
    for seen in examples {
        let told = words.entry(counted_by(seen.code)).or_default();
        told.push(tls_failure(seen.code));
        if let Some(name) = seen.name {
            words.entry(NAME).or_default().push(name);
        }
    }
    let few = |mut words: Vec<String>| {
        words.sort_unstable();
        words.dedup();
        words.truncate(EXAMPLES);
        words.join(", ")
    };
    let joined = words.into_iter().map(|(id, words)| (id, few(words)));
    joined.collect()
}

/// The signal that counts a failure of this code.
const fn counted_by(code: u32) -> &'static str {
    use osi_common::tls::{ABORTED_UNANSWERED, BY_SERVER, NO_ANSWER};
    if code >= NO_ANSWER {
        TLS_NO_ANSWER.id
    } else if code >= ABORTED_UNANSWERED {
        TLS_ABORTED.id
    } else if code & BY_SERVER != 0 {
        TLS_SERVER_ALERTS.id
    } else {
        TLS_CLIENT_ALERTS.id
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let named = finding.evidence.iter().find(|row| row.signal == NAME);
    let name = named.and_then(|row| row.why.strip_prefix("clients asked for "));
    let name = name.and_then(|names| names.split(", ").next());
    let name = name.map_or_else(String::new, |name| format!(" -servername {}", quoted(name)));
    let to = target(&finding.scope);
    let by_client = finding.row(&TLS_CLIENT_ALERTS).is_some();
    let whom = whom(&finding.scope);
    let (text, change) = if by_client {
        (
            format!(
                "Clients refuse what the server sends in handshakes {whom}: see its certificate's issuer, names and dates."
            ),
            "install a certificate that is valid, for that name, with its whole chain; or give the clients the CA that issued it",
        )
    } else {
        (
            format!(
                "Handshakes {whom} end on the server's side: see which versions and ciphers it takes, and its log."
            ),
            "let both sides share a version and a cipher (TLS 1.2 or later), or give the client the certificate that the server asks for",
        )
    };
    vec![Advice {
        text,
        confirm: inside(
            &finding.scope,
            &format!("openssl s_client -connect {to}{name} </dev/null || echo no handshake"),
        ),
        change: change.to_owned(),
        trade_off: "To switch verification off hides the fault and lets anybody read along."
            .to_owned(),
    }]
}
