//! A server that answered well answers with errors of its own.
//!
//! First evidence: the first such answer.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::http::browse;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count};
use osi_tests::topology::{Family, Pair};

const EXPECTED: Expected = Expected {
    cause: "http_errors",
    layer: "L7",
    within: STATISTICAL,
    beside: &[],
};

const REQUESTS: u64 = 100;
const PER_SECOND: u32 = 20;

/// Watches the side that asks, or the one that serves.
fn http_errors(test: &str, family: Family, at_server: bool) -> Result<()> {
    let needs = ["nginx", "curl"].map(Need::Program);
    let Some(_turn) = skip::ready(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(family, 80);
    let _nginx = Nginx::start_with_errors(&pair.server, server)?;
    let watched = if at_server {
        &pair.server
    } else {
        &pair.client
    };
    let agent = Agent::watch(watched)?;
    let ask = |path| browse(&pair.client, server, path, REQUESTS, PER_SECOND);
    let told = ask("/")?.join()?;
    ensure!(told.of(200) == REQUESTS, "{told:?}");

    let fault = SystemTime::now();
    let load = ask("/503")?;
    let map = EXPECTED.named(&agent, fault, fault)?;
    let scope = &map.verdict()["scope"];
    let (kind, address) = if at_server {
        ("listener", &scope["local"])
    } else {
        ("peer", &scope["remote"])
    };
    agent.ensure(
        scope["kind"] == kind
            && *address == server.ip().to_string()
            && scope["port"] == server.port(),
        || format!("{server} fails, not {scope}"),
    )?;
    agent.ensure(map.evidence_says(&["503 for GET /503"]), || {
        format!("the evidence names no code and path: {}", map.verdict())
    })?;
    let failed = load.join()?.of(503);
    ensure!(failed == REQUESTS, "{failed} answers are 503");

    let load = ask("/")?;
    EXPECTED.resolves(&agent, &map)?;
    load.join()?;
    let lines = EXPECTED.stop(agent)?;
    let told = event_count(&lines, "http_error", |event| event["reason"] == "503");
    stream::ensure_counted(&lines, "503", failed, told)
}

#[test]
fn over_ipv4() -> Result<()> {
    http_errors("l7_application::http_errors::over_ipv4", Family::V4, false)
}

#[test]
fn over_ipv6() -> Result<()> {
    http_errors("l7_application::http_errors::over_ipv6", Family::V6, false)
}

#[test]
fn where_it_serves() -> Result<()> {
    let test = "l7_application::http_errors::where_it_serves";
    http_errors(test, Family::V4, true)
}
