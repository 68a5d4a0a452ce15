//! Connects to a port that nobody listens on.
//!
//! First evidence: the first connect that returns ECONNREFUSED, at once.

use std::time::SystemTime;

use anyhow::{Context as _, Result};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::{self, Plan};
use osi_tests::skip;
use osi_tests::stream::{self, event_count, is_errno};
use osi_tests::topology::{Family, Routed};

const EXPECTED: Expected = Expected {
    cause: "connection_refused",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const CONNECTS: u64 = 40;
const PORT: u16 = 81;

#[test]
fn connection_refused() -> Result<()> {
    scenario(
        "l4_transport::connection_refused::connection_refused",
        Family::V4,
    )
}

#[test]
fn connection_refused_v6() -> Result<()> {
    scenario(
        "l4_transport::connection_refused::connection_refused_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(family, PORT);
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    let plan = Plan::connects(target, CONNECTS, 40);
    let report = load::connections(&lab.client, plan)?.join()?;
    let refused = report.errors_of(libc::ECONNREFUSED);
    agent.ensure(refused == CONNECTS, || {
        format!("the connects ended with {:?}", report.errors)
    })?;
    let evidence = report.first_error.context("no connect failed")?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["remote"] == target.ip().to_string() && scope["port"] == PORT,
        || format!("{target} refuses, not {scope}"),
    )?;

    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let told = event_count(&lines, "connect_failed", |event| {
        is_errno(event, libc::ECONNREFUSED, "ECONNREFUSED")
    });
    stream::ensure_counted(&lines, "refused connects", CONNECTS, told)
}

/// With the default scope the machine's other namespaces are seen as well, so the finding is looked for by its scope.
#[test]
fn named_among_all_namespaces() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l4_transport::connection_refused::named_among_all_namespaces",
        &[],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, PORT);
    let agent = Agent::watch_all()?;
    let plan = Plan::connects(target, CONNECTS, 40);
    let report = load::connections(&lab.client, plan)?.join()?;
    agent.ensure(report.errors_of(libc::ECONNREFUSED) == CONNECTS, || {
        format!("the connects ended with {:?}", report.errors)
    })?;
    let client = lab.client.name();
    let named = agent.wait_for(
        &format!("{target} to be named as refusing {client}"),
        INTERVAL * (HARD as u32 + 2),
        |line| {
            let scope = &line.value()["scope"];
            line.kind() == "finding"
                && line.value()["cause"] == EXPECTED.cause
                && scope["netns"]["name"] == client
                && scope["remote"] == target.ip().to_string()
                && scope["port"] == PORT
        },
    )?;
    let id = named.value()["id"].as_str().unwrap_or("").to_owned();
    agent.wait_for("a fault map with it", INTERVAL * 2, |line| {
        line.is_fault_map() && line.has_open(&id)
    })?;
    agent.stop().map(drop)
}
