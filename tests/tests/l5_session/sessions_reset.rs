//! A server that answers half and resets.
//!
//! First evidence: the first connection that leaves ESTABLISHED by a reset (`TcpEstabResets`).

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, wait};

const EXPECTED: Expected = Expected {
    cause: "sessions_reset",
    layer: "L5",
    within: STATISTICAL,
    beside: &[],
};

const PORT: u16 = 7;
const CONNECTIONS: u64 = 240;
/// A quarter of them, as a guest makes, are still more than the five a window that no finding is made of.
const PER_SECOND: u64 = 40;

#[test]
fn sessions_reset() -> Result<()> {
    scenario("l5_session::sessions_reset::sessions_reset", Family::V4)
}

#[test]
fn sessions_reset_v6() -> Result<()> {
    scenario("l5_session::sessions_reset::sessions_reset_v6", Family::V6)
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(family, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Break)?;
    let agent = Agent::watch(&pair.client)?;

    let fault = SystemTime::now();
    let plan = Plan {
        target,
        connections: CONNECTIONS,
        per_second: PER_SECOND,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let work = load::connections(&pair.client, plan)?;
    let resets = || counters::snmp(&pair.client, "TcpEstabResets");
    let evidence = wait::until_above("resets", 0, Duration::from_secs(3), resets)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "peer"
            && scope["remote"] == target.ip().to_string()
            && scope["port"] == PORT,
        || format!("{target} resets, not {scope}"),
    )?;

    let report = work.join()?;
    ensure!(
        report.errors_of(libc::ECONNRESET) == CONNECTIONS,
        "the connections ended with {:?}",
        report.errors
    );
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    let resets = resets()?;
    let lines = EXPECTED.stop(agent)?;
    let counted = growth(&lines, "L5", "sessions_reset");
    let aborted = event_count(&lines, "session_aborted", |event| {
        event["errno"] == "ECONNRESET"
    });
    stream::ensure(&lines, (counted, aborted) == (resets, resets), || {
        format!(
            "nstat counts {resets} reset connections, the agent {counted} and its events {aborted}"
        )
    })
}
