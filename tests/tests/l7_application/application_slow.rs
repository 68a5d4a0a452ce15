//! An application that answered within milliseconds needs sixty times as long.
//!
//! First evidence: the first answer after that long.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
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
