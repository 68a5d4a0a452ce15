//! Twenty connections may be in TIME_WAIT, and a client closes forty a second.
//!
//! First evidence: the first `TCPTimeWaitOverflow`.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, wait};

const EXPECTED: Expected = Expected {
    cause: "time_wait_table_full",
    layer: "L4",
    within: STATISTICAL,
    beside: &[],
};

const LIMIT: u64 = 20;
const CONNECTS: u64 = 240;
const SETTING: &str = "net/ipv4/tcp_max_tw_buckets";

#[test]
fn time_wait_table_full() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l4_transport::time_wait_table_full::time_wait_table_full",
        &[Need::Program("nstat")],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    pair.client.set_sysctl(SETTING, &LIMIT.to_string())?;
    let agent = Agent::watch(&pair.client)?;

    let fault = SystemTime::now();
    let connects = load::connections(&pair.client, Plan::connects(target, CONNECTS, 40))?;
    let skipped = || counters::snmp(&pair.client, "TcpExtTCPTimeWaitOverflow");
    let evidence = wait::until_above("overflows", 0, Duration::from_secs(5), skipped)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    connects.join()?;
    let waiting = counters::tcp_sockets(&pair.client, "state time-wait")?;
    let shown = agent.wait_for_window(SystemTime::now(), 2)?;
    let meter = rows(shown.layer("L4"), "meters").find(|row| row["id"] == "time_wait");
    let used = meter.and_then(|row| {
        row["used"]
            .as_u64()
            .or(row["used"].as_f64().map(|used| used as u64))
    });
    agent.compare(waiting == LIMIT && used == Some(waiting), || {
        format!("ss counts {waiting} in TIME_WAIT and the agent {used:?}")
    })?;
    // They would stay for a minute.
    pair.client.set_sysctl(SETTING, "4096")?;
    EXPECTED.resolves(&agent, &map)?;
    drop(server);
    let truth = skipped()?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L4", "time_wait_overflows");
    stream::ensure(&lines, truth > 0 && said == truth, || {
        format!("nstat counts {truth} connections that skipped TIME_WAIT and the agent {said}")
    })
}
