//! A server gets a certificate that its clients do not trust.
//!
//! First evidence: the first alert.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::secure::{Certificate, NAME, Requests, curl};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count};
use osi_tests::topology::{Family, Pair};

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

fn tls_handshake_failed(test: &str, family: Family, version: &str, side: Side) -> Result<()> {
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(family, 443);
    let known = Certificate::create(&pair.server, "known")?;
    let foreign = Certificate::create(&pair.server, "foreign")?;
    let well = Nginx::start_tls(&pair.server, server, &known, "TLSv1.2 TLSv1.3")?;
    let agent = Agent::watch(match side {
        Side::Client => &pair.client,
        Side::Server => &pair.server,
    })?;
    let trusts = known.file();
    let requests = |count| Requests {
        server,
        trusts: &trusts,
        version,
        count,
        per_second: 8,
    };
    let told = curl(&pair.client, requests(24))?.join()?;
    ensure!((told.completed(), told.failed) == (24, 0), "{told:?}");
    agent.wait_for_window(SystemTime::now(), 1)?;

    drop(well);
    let broken = Nginx::start_tls(&pair.server, server, &foreign, "TLSv1.2 TLSv1.3")?;
    let fault = SystemTime::now();
    let load = curl(&pair.client, requests(60))?;
    let map = EXPECTED.named(&agent, fault, fault)?;
    let scope = &map.verdict()["scope"];
    let is_there = match side {
        Side::Client => scope["kind"] == "peer" && scope["remote"] == server.ip().to_string(),
        Side::Server => scope["kind"] == "listener",
    };
    agent.ensure(is_there && scope["port"] == server.port(), || {
        format!("{server} fails, not {scope}")
    })?;
    let told_of = |word| map.evidence_says(&[word]);
    agent.ensure(told_of("unknown_ca") && told_of(NAME), || {
        format!("no alert or name in the evidence: {}", map.verdict())
    })?;
    let told = load.join()?;
    ensure!((told.completed(), told.failed) == (0, 60), "{told:?}");

    drop(broken);
    let _well = Nginx::start_tls(&pair.server, server, &known, "TLSv1.2 TLSv1.3")?;
    let load = curl(&pair.client, requests(80))?;
    EXPECTED.resolves(&agent, &map)?;
    load.join()?;
    let lines = EXPECTED.stop(agent)?;
    let unknown = event_count(&lines, "tls_failed", |event| {
        event["reason"] == "unknown_ca"
    });
    stream::ensure_counted(&lines, "refused certificates", told.failed, unknown)
}

#[test]
fn at_the_client_over_ipv4() -> Result<()> {
    tls_handshake_failed(
        "l6_presentation::tls_handshake_failed::at_the_client_over_ipv4",
        Family::V4,
        "1.3",
        Side::Client,
    )
}

#[test]
fn at_the_client_over_ipv6() -> Result<()> {
    tls_handshake_failed(
        "l6_presentation::tls_handshake_failed::at_the_client_over_ipv6",
        Family::V6,
        "1.2",
        Side::Client,
    )
}

#[test]
fn at_the_server() -> Result<()> {
    tls_handshake_failed(
        "l6_presentation::tls_handshake_failed::at_the_server",
        Family::V4,
        "1.2",
        Side::Server,
    )
}
