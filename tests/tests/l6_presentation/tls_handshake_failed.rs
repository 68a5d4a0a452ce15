//! A server gets a certificate that its clients refuse, or versions that they do not speak.
//!
//! First evidence: the first connection that fails.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::secure::{Certificate, NAME, Requests, curl};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, scale, wait};

const EXPECTED: Expected = Expected {
    cause: "tls_handshake_failed",
    layer: "L6",
    within: STATISTICAL,
    beside: &[],
};

const NEEDS: [Need; 3] = [
    Need::Program("nginx"),
    Need::Program("openssl"),
    Need::Program("curl"),
];

/// Which side the agent watches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// The certificate that the server has from then on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// The one before.
    Same,
    /// One that nobody trusts.
    Foreign,
    /// One that is trusted, and whose time is over.
    Expired,
}

/// What becomes of the server, and what is said of it.
struct Fault {
    shown: Shown,
    versions: &'static str,
    /// The alert.
    reason: &'static str,
    /// What the advice says of who sends it.
    told: &'static str,
    /// What it is at the server.
    at_the_server: &'static str,
}

/// The time in which curl has begun.
const START: Duration = Duration::from_secs(5);
/// Handshakes of the client.
const PER_SECOND: u64 = 8;

const BOTH: &str = "TLSv1.2 TLSv1.3";

const FOREIGN: Fault = Fault {
    shown: Shown::Foreign,
    versions: BOTH,
    reason: "unknown_ca",
    told: "Clients refuse what the server sends",
    at_the_server: "critical",
};
const EXPIRED: Fault = Fault {
    shown: Shown::Expired,
    reason: "certificate_expired",
    ..FOREIGN
};
/// Its clients speak TLS 1.2. At the server they may be scanners.
const DISJOINT: Fault = Fault {
    shown: Shown::Same,
    versions: "TLSv1.3",
    reason: "protocol_version",
    told: "end on the server's side",
    at_the_server: "warn",
};

fn tls_handshake_failed(
    test: &str,
    fault: &Fault,
    family: Family,
    version: &str,
    side: Side,
) -> Result<()> {
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(family, 443);
    let known = Certificate::create(&pair.server, "known")?;
    let foreign = Certificate::create(&pair.server, "foreign")?;
    let expired = Certificate::create_expired(&pair.server, "expired")?;
    let well = Nginx::start_tls(&pair.server, server, &known, BOTH)?;
    let host = match side {
        Side::Client => &pair.client,
        Side::Server => &pair.server,
    };
    let agent = Agent::watch_every(host, scale::patience(INTERVAL), &[])?;
    let trusts = known.with(&expired)?;
    let requests = |count| Requests {
        server,
        trusts: &trusts,
        version,
        count,
        per_second: scale::rate(PER_SECOND),
    };
    let told = curl(&pair.client, requests(24))?.join()?;
    ensure!((told.completed(), told.failed) == (24, 0), "{told:?}");
    agent.wait_for_window(SystemTime::now(), 1)?;

    drop(well);
    let shown = match fault.shown {
        Shown::Same => &known,
        Shown::Foreign => &foreign,
        Shown::Expired => &expired,
    };
    let broken = Nginx::start_tls(&pair.server, server, shown, fault.versions)?;
    let begun = SystemTime::now();
    let accepted = || counters::snmp(&pair.server, "TcpPassiveOpens");
    let before = accepted()?;
    let load = curl(&pair.client, requests(60))?;
    let evidence = wait::until_above("connections", before, START, accepted)?;
    let map = EXPECTED.named(&agent, begun, evidence)?;
    let verdict = map.verdict();
    let scope = &verdict["scope"];
    let is_there = match side {
        Side::Client => scope["kind"] == "peer" && scope["remote"] == server.ip().to_string(),
        Side::Server => scope["kind"] == "listener",
    };
    agent.ensure(is_there && scope["port"] == server.port(), || {
        format!("{server} fails, not {scope}")
    })?;
    let told_of = |word| map.evidence_says(&[word]);
    agent.ensure(told_of(fault.reason) && told_of(NAME), || {
        format!("no {} or name in the evidence: {verdict}", fault.reason)
    })?;
    let severity = match side {
        Side::Client => "critical",
        Side::Server => fault.at_the_server,
    };
    let advises = rows(verdict, "advice").any(|row| {
        let text = row["text"].as_str().unwrap_or_default();
        text.contains(fault.told)
    });
    agent.ensure(verdict["state"] == severity && advises, || {
        format!("not {severity}, or nothing of {:?}: {verdict}", fault.told)
    })?;
    let told = load.join()?;
    ensure!((told.completed(), told.failed) == (0, 60), "{told:?}");

    drop(broken);
    let _well = Nginx::start_tls(&pair.server, server, &known, BOTH)?;
    let load = curl(&pair.client, requests(80))?;
    EXPECTED.resolves(&agent, &map)?;
    load.join()?;
    let lines = EXPECTED.stop(agent)?;
    let refused = event_count(&lines, "tls_failed", |event| {
        event["reason"] == fault.reason
    });
    stream::ensure_counted(&lines, fault.reason, told.failed, refused)
}

#[test]
fn at_the_client_over_ipv4() -> Result<()> {
    tls_handshake_failed(
        "l6_presentation::tls_handshake_failed::at_the_client_over_ipv4",
        &FOREIGN,
        Family::V4,
        "1.3",
        Side::Client,
    )
}

#[test]
fn at_the_client_over_ipv6() -> Result<()> {
    tls_handshake_failed(
        "l6_presentation::tls_handshake_failed::at_the_client_over_ipv6",
        &FOREIGN,
        Family::V6,
        "1.2",
        Side::Client,
    )
}

#[test]
fn at_the_server() -> Result<()> {
    tls_handshake_failed(
        "l6_presentation::tls_handshake_failed::at_the_server",
        &FOREIGN,
        Family::V4,
        "1.2",
        Side::Server,
    )
}

#[test]
fn expired_at_the_client() -> Result<()> {
    tls_handshake_failed(
        "l6_presentation::tls_handshake_failed::expired_at_the_client",
        &EXPIRED,
        Family::V6,
        "1.3",
        Side::Client,
    )
}

#[test]
fn disjoint_versions_at_the_client() -> Result<()> {
    tls_handshake_failed(
        "l6_presentation::tls_handshake_failed::disjoint_versions_at_the_client",
        &DISJOINT,
        Family::V4,
        "1.2",
        Side::Client,
    )
}

#[test]
fn disjoint_versions_at_the_server() -> Result<()> {
    tls_handshake_failed(
        "l6_presentation::tls_handshake_failed::disjoint_versions_at_the_server",
        &DISJOINT,
        Family::V6,
        "1.2",
        Side::Server,
    )
}
