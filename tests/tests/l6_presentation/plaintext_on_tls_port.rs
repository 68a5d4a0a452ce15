//! A client speaks plain HTTP to a server of HTTPS.
//!
//! First evidence: the first such request.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, HARD};
use osi_tests::http::browse;
use osi_tests::secure::{Certificate, Requests, curl};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Pair};

const EXPECTED: Expected = Expected {
    cause: "plaintext_on_tls_port",
    layer: "L6",
    within: HARD,
    beside: &[],
};

const NEEDS: [Need; 3] = [
    Need::Program("nginx"),
    Need::Program("openssl"),
    Need::Program("curl"),
];

const REQUESTS: u64 = 80;
const PER_SECOND: u32 = 20;

/// Watches the side that asks, or the one that serves.
fn plaintext(test: &str, family: Family, at_server: bool) -> Result<()> {
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(family, 443);
    let known = Certificate::create(&pair.server, "known")?;
    let _nginx = Nginx::start_tls(&pair.server, server, &known, "TLSv1.2 TLSv1.3")?;
    let watched = if at_server {
        &pair.server
    } else {
        &pair.client
    };
    let agent = Agent::watch(watched)?;
    let trusts = known.file();
    let well = Requests {
        server,
        trusts: &trusts,
        version: "1.3",
        count: 8,
        per_second: 8,
    };
    let told = curl(&pair.client, well)?.join()?;
    ensure!((told.completed(), told.failed) == (8, 0), "{told:?}");
    agent.wait_for_window(SystemTime::now(), 1)?;

    let fault = SystemTime::now();
    let load = browse(&pair.client, server, "/health", REQUESTS, PER_SECOND)?;
    let map = EXPECTED.named(&agent, fault, fault)?;
    let scope = &map.verdict()["scope"];
    let kind = if at_server { "listener" } else { "peer" };
    agent.ensure(
        scope["kind"] == kind && scope["port"] == server.port(),
        || format!("{server} speaks TLS, not {scope}"),
    )?;
    agent.ensure(map.evidence_says(&["400 for GET /health"]), || {
        format!("the evidence names no request: {}", map.verdict())
    })?;
    let told = load.join()?;
    ensure!(told.of(400) == REQUESTS, "{told:?}");

    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let counted = growth(&lines, "L6", "plaintext_requests");
    // The command that the advice gives, which was run, asks once more.
    stream::ensure_counted(&lines, "requests in plain text", REQUESTS + 1, counted)
}

#[test]
fn asked_over_ipv4() -> Result<()> {
    let test = "l6_presentation::plaintext_on_tls_port::asked_over_ipv4";
    plaintext(test, Family::V4, false)
}

#[test]
fn served_over_ipv6() -> Result<()> {
    let test = "l6_presentation::plaintext_on_tls_port::served_over_ipv6";
    plaintext(test, Family::V6, true)
}
