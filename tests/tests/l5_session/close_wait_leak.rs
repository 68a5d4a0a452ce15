//! A server that never closes, and clients that come in waves and do.
//!
//! First evidence: the first window in which more than twenty of its connections have been in CLOSE_WAIT for ten seconds.

use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip;
use osi_tests::stream::{self, Line, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, processes, wait};

const EXPECTED: Expected = Expected {
    cause: "close_wait_leak",
    layer: "L5",
    within: STATISTICAL,
    beside: &[],
};

const PORT: u16 = 7;
const WAVES: usize = 4;
const EACH: usize = 8;

#[test]
fn close_wait_leak() -> Result<()> {
    let test = "l5_session::close_wait_leak::close_wait_leak";
    let Some(_turn) = skip::ready_to_time(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Hold)?;
    let agent = Agent::watch(&pair.server)?;

    let fault = SystemTime::now();
    for wave in 1..=WAVES {
        let open = || {
            (0..EACH)
                .map(|_| Ok(TcpStream::connect(target)?))
                .collect::<Result<Vec<_>>>()
        };
        let clients = pair.client.run(open)?;
        let accepted = (wave * EACH) as u64;
        wait::until(
            "the server has accepted them",
            Duration::from_secs(5),
            || Ok((server.accepted() >= accepted).then_some(())),
        )?;
        drop(clients);
        // The next wave comes in a later window.
        agent.wait_for_window(SystemTime::now(), 2)?;
    }
    let map = agent.wait_for(
        "connections that were closed long ago",
        INTERVAL * 15,
        |line| long(line).is_some_and(|held| held > 20),
    )?;
    EXPECTED.named(&agent, fault, map.time()?)?;
    let own = std::process::id();
    // Where it takes longer to find the process than to find the leak, the listener is named until then.
    let map = agent.wait_for("the process that holds them", INTERVAL * 12, |line| {
        line.cause() == Some(EXPECTED.cause) && line.verdict()["scope"]["kind"] == "process"
    })?;
    let process = &map.verdict()["scope"]["process"];
    let started = processes::start_time(own)?;
    agent.ensure(
        process["pid"] == own && process["start_time"] == started,
        || format!("process {own} holds them, not {process}"),
    )?;
    let all = (WAVES * EACH) as u64;
    agent.wait_for("all of them", INTERVAL * 10, |line| long(line) == Some(all))?;
    let listed = counters::tcp_sockets(&pair.server, "state close-wait")?;
    stream::ensure(&agent.lines(), listed == all, || {
        format!("ss lists {listed} sockets in CLOSE_WAIT and the agent {all}")
    })?;

    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}

/// Connections of the listener that have been in CLOSE_WAIT for long.
fn long(line: &Line) -> Option<u64> {
    let mut meters = rows(line.layer("L5"), "meters");
    let row = meters.find(|row| row["id"] == "close_wait_held" && row["scope"]["port"] == PORT)?;
    row["used"].as_f64().map(|used| used as u64)
}
