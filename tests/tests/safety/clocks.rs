//! An agent in a time namespace, whose boot time is not that of the programs: no duration, age or moment is wrong for it.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, handshakes};
use osi_tests::topology::{Family, Pair};
use osi_tests::{command, kernel};

const CONNECTIONS: u64 = 50;
const REFUSED: u64 = 4;
/// Connects that nobody answers, and for how long.
const UNANSWERED: u64 = 3;
const WAITING: Duration = Duration::from_secs(4);

#[test]
fn ahead_of_the_kernel() -> Result<()> {
    scenario("safety::clocks::ahead_of_the_kernel", "100000")
}

#[test]
fn behind_the_kernel() -> Result<()> {
    // No further back than this machine has been up.
    scenario("safety::clocks::behind_the_kernel", "-60")
}

fn scenario(test: &str, offset: &str) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("unshare"), Need::Program("nft")])? else {
        return Ok(());
    };
    if !kernel::is_at_least(6, 3)? {
        return skip::skip(
            test,
            "before Linux 6.3 a program that was started into a time namespace without a fork cannot have threads",
        );
    }
    let starter = ["unshare", "--time", "--boottime", offset];
    let mut attempt = Command::new(starter[0]);
    if let Err(error) = command::output(attempt.args(&starter[1..]).arg("true")) {
        return skip::skip(test, &format!("no time namespaces: {error:#}"));
    }
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let _server = Server::start(&pair.server, target, Behaviour::Echo)?;
    let silent = Pair::server_at(Family::V4, 9);
    let _rule = DropRule::add(&pair.server, "input", "tcp dport 9")?;
    let started = Instant::now();
    let agent = Agent::watch_through(&starter, &pair.client)?;

    let plan = Plan {
        target,
        connections: CONNECTIONS,
        per_second: 200,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let slowest = load::connections(&pair.client, plan)?
        .join()?
        .connect_ns
        .max();
    let refused_at = SystemTime::now();
    let refused = Plan::connects(Pair::server_at(Family::V4, 81), REFUSED, 100);
    load::connections(&pair.client, refused)?.join()?;
    let begun = (Instant::now(), SystemTime::now());
    let waiting = load::connect_all_at_once(&pair.client, silent, UNANSWERED, WAITING)?;
    let in_flight = |line: &Line| line.latency("L4", "tcp_handshake_client", "in_flight");
    let map = agent.wait_for("handshakes in flight for a second", WAITING, |line| {
        let old = |map: &Line| {
            let age = map.latency("L4", "tcp_handshake_client", "oldest_age_ns")?;
            Some(age >= 1_000_000_000)
        };
        in_flight(line) == Some(UNANSWERED) && old(line) == Some(true)
    })?;
    let age = map.latency("L4", "tcp_handshake_client", "oldest_age_ns");
    agent.ensure(age <= Some(begun.0.elapsed().as_nanos() as u64), || {
        format!(
            "handshakes begun {:?} ago are said to be {age:?} ns old",
            begun.0.elapsed()
        )
    })?;
    waiting.join()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let lasted = started.elapsed();

    let counted = handshakes(&lines, "tcp_handshake_client");
    stream::ensure_counted(&lines, "handshakes", CONNECTIONS, counted)?;
    let longest = lines
        .iter()
        .filter_map(|line| line.latency("L4", "tcp_handshake_client", "max_ns"))
        .max();
    // A class of the histogram ends a little above what fell into it.
    stream::ensure(
        &lines,
        longest > Some(0) && longest <= Some(slowest + slowest / 4),
        || format!("{CONNECTIONS} handshakes took {slowest} ns at most; {longest:?} ns are told"),
    )?;
    let told = event_count(&lines, "connect_failed", |event| {
        event["errno"] == "ECONNREFUSED" && event["process"]["pid"].is_u64()
    });
    stream::ensure(&lines, told == REFUSED, || {
        format!("{REFUSED} connects were refused and the events with a process count {told}")
    })?;
    for line in lines
        .iter()
        .filter(|line| line.value()["errno"] == "ECONNREFUSED")
    {
        let at = line.time()?;
        stream::ensure(&lines, (refused_at..=begun.1).contains(&at), || {
            format!("a connect was refused after {refused_at:?} and is told as of {at:?}")
        })?;
    }
    let windows: u64 = lines
        .iter()
        .filter_map(|line| line.value()["window_ns"].as_u64())
        .sum();
    stream::ensure(&lines, windows <= lasted.as_nanos() as u64, || {
        format!("the agent ran for {lasted:?} at most, and its windows come to {windows} ns")
    })
}
