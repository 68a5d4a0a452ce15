//! The server behind a proxy becomes slow: at the proxy, that server is the root, and its own slow answers are the symptom.
//!
//! First evidence: the first answer that took so long.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, STATISTICAL, calm};
use osi_tests::load::{self, MESSAGE};
use osi_tests::proxy::Haproxy;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, rows, sum};
use osi_tests::topology::{Family, Pair};

const EXPECTED: Expected = Expected {
    cause: "dependency_slow",
    layer: "L7",
    within: STATISTICAL,
    beside: &[],
};

const USUAL: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(300);
const CLIENTS: u64 = 8;
/// Ten windows to learn from, five to be slow in, and twelve to recover.
const REQUESTS: u64 = 450;
const PAUSE: Duration = Duration::from_millis(45);

/// How often connections rest, and how long.
const ROUNDS: u64 = 40;
const REST: Duration = Duration::from_millis(200);

#[test]
fn dependency_slow() -> Result<()> {
    let test = "l7_application::dependency_slow::dependency_slow";
    let Some(_turn) = skip::ready_to_time(test, &[Need::Program("haproxy")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let (front, back) = (
        Pair::client_at(Family::V4, 8080),
        Pair::server_at(Family::V4, 7),
    );
    let server = Server::start(&pair.server, back, Behaviour::Converse)?;
    server.work_for(USUAL);
    let proxy = Haproxy::start_tcp(&pair.client, front, back)?;
    let agent = Agent::watch(&pair.client)?;
    let talk = load::conversation(&pair.server, front, CLIENTS, REQUESTS, PAUSE)?;
    agent.wait_for_window(SystemTime::now(), 10)?;

    let fault = SystemTime::now();
    server.work_for(SLOW);
    let map = EXPECTED.named(&agent, fault, fault + SLOW)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["remote"] == back.ip().to_string() && scope["port"] == back.port(),
        || format!("{back} is slow, not {scope}"),
    )?;
    let least = SLOW.as_nanos() as f64;
    let told = map.verdict()["evidence"][0]["value"].as_f64();
    agent.compare(told.is_some_and(|ns| ns >= least), || {
        format!("answers take {least} ns or more, and are told as {told:?}")
    })?;
    agent.wait_for(
        "the proxy's own answers as a symptom",
        INTERVAL * 3,
        |line| {
            line.cause() == Some(EXPECTED.cause)
                && rows(line.verdict(), "symptoms").any(|row| row["cause"] == "application_slow")
        },
    )?;

    server.work_for(USUAL);
    EXPECTED.resolves(&agent, &map)?;
    let answers = talk.join()?;
    ensure!(answers == CLIENTS * REQUESTS, "{answers} answers came back");
    drop(proxy);
    EXPECTED.stop(agent).map(drop)
}

/// Connections that rest after a send that no answer is due to, as those of HTTP/2 do after a WINDOW_UPDATE: here, the first half
/// of the next request.
#[test]
fn nothing_is_missed_where_nothing_is_due() -> Result<()> {
    let test = "l7_application::dependency_slow::nothing_is_missed_where_nothing_is_due";
    let Some(_turn) = skip::ready_to_time(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let _server = Server::start(&pair.server, target, Behaviour::Converse)?;
    let agent = Agent::watch(&pair.client)?;
    let mut streams = pair.client.run(|| {
        let one = |_| Ok(TcpStream::connect(target)?);
        (0..CLIENTS).map(one).collect::<Result<Vec<_>>>()
    })?;
    let (first, last) = MESSAGE.split_at(MESSAGE.len() / 2);
    for stream in &mut streams {
        stream.write_all(first)?;
    }
    let rested = SystemTime::now();
    for _ in 0..ROUNDS {
        std::thread::sleep(REST);
        for stream in &mut streams {
            stream.write_all(last)?;
            stream.read_exact(&mut [0; MESSAGE.len()])?;
        }
        for stream in &mut streams {
            stream.write_all(first)?;
        }
    }
    agent.wait_for_window(SystemTime::now(), 6)?;
    let lines = calm(agent)?;
    let answers = sum(&lines, |map| {
        map.latency("L7", "dependency_time", "count").unwrap_or(0)
    });
    // Who answers before the send is noted ends the rest before it, too, which counts as well.
    ensure!(answers >= ROUNDS * CLIENTS, "{answers} answers are told");
    let silent = lines.iter().filter(|line| line.is_fault_map());
    let silent = silent.filter_map(|map| map.latency("L7", "dependency_time", "oldest_age_ns"));
    let longest = Duration::from_nanos(silent.max().unwrap_or(0));
    let most = rested.elapsed()?;
    stream::ensure(
        &lines,
        longest > Duration::from_secs(2) && longest < most,
        || format!("the connections rested, and for {longest:?} nothing came"),
    )
}
