//! Agents that come and go on a busy host: nobody's connection fails for it.

use std::time::Duration;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip;
use osi_tests::stream::handshakes;
use osi_tests::topology::{Family, Pair};

const AGENTS: u64 = 20;
const PER_SECOND: u64 = 200;
/// Longer than an agent takes to attach, tell its first window and detach.
const CONNECTIONS: u64 = 2 * PER_SECOND;

#[test]
fn twenty_agents_cost_no_connection() -> Result<()> {
    let test = "safety::startup::twenty_agents_cost_no_connection";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let _server = Server::start(&pair.server, target, Behaviour::Echo)?;
    let plan = Plan {
        target,
        connections: CONNECTIONS,
        per_second: PER_SECOND,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let alone = load::connections(&pair.client, plan)?.join()?;
    let (mut slowest, mut seen) = (0, 0);
    for number in 1..=AGENTS {
        let load = load::connections(&pair.client, plan)?;
        let lines = Agent::watch(&pair.client)?.stop()?;
        let report = load.join()?;
        ensure!(
            report.completed == CONNECTIONS && report.errors.is_empty(),
            "beside agent {number}, {} of {CONNECTIONS} exchanges came to their end: {:?}",
            report.completed,
            report.errors
        );
        slowest = slowest.max(report.connect_ns.max());
        seen += handshakes(&lines, "tcp_handshake_client");
    }
    // The agents were attached while there was something to see.
    ensure!(seen > 0, "{AGENTS} agents saw no handshake");
    println!(
        "slowest connect: {} ns alone, {slowest} ns beside {AGENTS} agents, which saw {seen} of {} handshakes",
        alone.connect_ns.max(),
        AGENTS * CONNECTIONS
    );
    Ok(())
}
