//! An application that answered within milliseconds needs sixty times as long; or one that serves one request after the other gets
//! more of them than its CPU can do, so that each answer takes little and waits for its turn.
//!
//! First evidence: the first answer after that long, and the first request that has waited for all others.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::cpu::Unpressed;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::in_turn::{InTurn, Work};
use osi_tests::server::{Behaviour, Server};
use osi_tests::topology::{Family, Pair};
use osi_tests::{load, skip};

const EXPECTED: Expected = Expected {
    cause: "application_slow",
    layer: "L7",
    within: STATISTICAL,
    beside: &[],
};

const PORT: u16 = 7;
const USUAL: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(300);
const CLIENTS: u64 = 8;
/// Ten windows to learn from, five to be slow in, and twelve to recover.
const REQUESTS: u64 = 450;
const PAUSE: Duration = Duration::from_millis(45);

#[test]
fn application_slow() -> Result<()> {
    let test = "l7_application::application_slow::application_slow";
    let Some(_turn) = skip::ready_to_time(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Converse)?;
    server.work_for(USUAL);
    let agent = Agent::watch(&pair.server)?;
    let talk = load::conversation(&pair.client, target, CLIENTS, REQUESTS, PAUSE)?;
    agent.wait_for_window(SystemTime::now(), 10)?;

    let fault = SystemTime::now();
    server.work_for(SLOW);
    let map = EXPECTED.named(&agent, fault, fault + SLOW)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(scope["kind"] == "listener" && scope["port"] == PORT, || {
        format!("{target} is slow, not {scope}")
    })?;
    let evidence = &map.verdict()["evidence"][0];
    let least = SLOW.as_nanos() as f64;
    let told = evidence["value"].as_f64();
    agent.compare(
        evidence["signal"] == "response_time" && told.is_some_and(|ns| ns >= least),
        || {
            let signal = &evidence["signal"];
            format!("answers take {least} ns or more, and {signal} tells {told:?}")
        },
    )?;

    server.work_for(USUAL);
    EXPECTED.resolves(&agent, &map)?;
    let answers = talk.join()?;
    ensure!(answers == CLIENTS * REQUESTS, "{answers} answers came back");
    EXPECTED.stop(agent).map(drop)
}

/// CPU time of a request: what all clients together ask for is a third of a CPU, and then three of them.
const LIGHT: Duration = Duration::from_millis(1);
const HEAVY: Duration = Duration::from_millis(20);
const CROWD: u64 = 16;
/// Ten windows to learn from, five in which each asks three times a second, and twelve to recover.
const OF_EACH: u64 = 440;

#[test]
fn requests_wait_for_a_busy_handler() -> Result<()> {
    let test = "l7_application::application_slow::requests_wait_for_a_busy_handler";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = InTurn::start(&pair.server, target, Work::Compute)?;
    server.work_for(LIGHT);
    let unpressed = Unpressed::create(&pair.server)?;
    let agent = Agent::watch_with(&pair.server, &unpressed.options()?)?;
    let talk = load::conversation(&pair.client, target, CROWD, OF_EACH, PAUSE)?;
    agent.wait_for_window(SystemTime::now(), 10)?;

    let fault = SystemTime::now();
    server.work_for(HEAVY);
    let turn = HEAVY * CROWD as u32;
    let map = EXPECTED.named(&agent, fault, fault + turn)?;
    let verdict = map.verdict();
    agent.ensure(
        verdict["scope"]["kind"] == "listener" && verdict["scope"]["port"] == PORT,
        || format!("{target} is busy, not {}", verdict["scope"]),
    )?;
    let (waited, share) = (
        map.evidence("request_dwell"),
        map.evidence("queueing_share"),
    );
    // All others are served before one's turn comes; those who think meanwhile are not waited for.
    let least = (turn / 2).as_nanos() as f64;
    agent.compare(waited > Some(least) && share >= Some(0.8), || {
        format!("{CROWD} clients wait for {turn:?} in turn; told are {waited:?} ns and a share of {share:?}")
    })?;
    let most_ns = map.latency("L7", "response_time", "p50_ns");
    agent.compare(most_ns < Some((HEAVY * 2).as_nanos() as u64), || {
        format!(
            "an answer takes {HEAVY:?}, and half of them are said to take at most {most_ns:?} ns"
        )
    })?;

    server.work_for(LIGHT);
    EXPECTED.resolves(&agent, &map)?;
    let answers = talk.join()?;
    ensure!(answers == CROWD * OF_EACH, "{answers} answers came back");
    drop(server);
    EXPECTED.stop(agent).map(drop)
}
