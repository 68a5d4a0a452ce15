//! A web server's worker is stopped: the kernel takes requests for it, and nobody reads them.
//!
//! First evidence: the first request has waited for a second.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, HARD};
use osi_tests::in_turn::{InTurn, Work};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, rows, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, scale, wait};
use rustix::process::Signal;

const EXPECTED: Expected = Expected {
    cause: "application_stalled",
    layer: "L7",
    within: HARD,
    beside: &[],
};

const PORT: u16 = 80;
/// Answered before the worker stops, and waiting while it is.
const ANSWERED: u64 = 60;
const WAITING: usize = 5;
/// What nobody looks at.
const REQUEST: &[u8] = b"?";
/// How long the server is busy while others ask, and then with the first of them.
const BUSY: Duration = Duration::from_millis(700);
const STALL: Duration = Duration::from_secs(5);
/// Until it has read something.
const READY: Duration = Duration::from_secs(10);
/// How long a request must wait.
const LIMIT: Duration = Duration::from_secs(1);

#[test]
fn application_stalled() -> Result<()> {
    let test = "l7_application::application_stalled::application_stalled";
    let Some(_turn) = skip::ready(test, &[Need::Program("nginx")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let nginx = Nginx::start(&pair.server, target)?;
    let agent = Agent::watch(&pair.server)?;
    let plan = Plan {
        target,
        connections: ANSWERED,
        per_second: 30,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Http,
    };
    let report = load::connections(&pair.client, plan)?.join()?;
    ensure!(report.completed == ANSWERED, "{:?}", report.errors);

    nginx.signal_workers(Signal::STOP)?;
    let fault = SystemTime::now();
    let asked = load::ask(&pair.client, target, WAITING)?;
    let map = EXPECTED.named(&agent, fault, SystemTime::now() + LIMIT)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "listener"
            && scope["port"] == PORT
            && scope["local"] == target.ip().to_string(),
        || format!("{target} is stopped, not {scope}"),
    )?;
    let waiting = map.evidence("waiting");
    agent.compare(waiting == Some(WAITING as f64), || {
        format!("{WAITING} requests wait and {waiting:?} are told")
    })?;
    let owner = &map.verdict()["owner"];
    agent.ensure(
        rows(owner, "held_by").any(|process| process["comm"] == "nginx"),
        || format!("nginx holds the listener, not {owner}"),
    )?;
    let l7 = map.layer("L7");
    agent.ensure(l7["saturation_ratio"] == 1.0, || {
        format!("nothing is read and L7 is at {}", l7["saturation_ratio"])
    })?;

    nginx.signal_workers(Signal::CONT)?;
    for stream in asked {
        load::answered(stream)?;
    }
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let offered = ANSWERED + WAITING as u64;
    let read = sum(&lines, |map| {
        map.latency("L7", "request_dwell", "count").unwrap_or(0)
    });
    stream::ensure_counted(&lines, "requests", offered, read)
}

/// Requests that came at the same time wait for a server that has read the first of them, and no more.
#[test]
fn the_rest_of_what_came_at_once() -> Result<()> {
    let test = "l7_application::application_stalled::the_rest_of_what_came_at_once";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = InTurn::start(&pair.server, target, Work::Store)?;
    let agent = Agent::watch(&pair.server)?;
    let mut streams = pair.client.run(|| {
        let one = |_| Ok(TcpStream::connect(target)?);
        (0..=WAITING + 1).map(one).collect::<Result<Vec<_>>>()
    })?;
    let is_read = || {
        let has_arrived = counters::unacknowledged(&pair.client, PORT)? == 0;
        let is_read = has_arrived && counters::unread(&pair.server, PORT)? == 0;
        Ok(is_read.then_some(()))
    };
    for stream in &mut streams {
        stream.write_all(REQUEST)?;
    }
    wait::until("all is read", READY, is_read)?;

    // While it is busy with one, all others ask.
    server.work_for(BUSY);
    let (busy, others) = streams.split_first_mut().context("no stream")?;
    let begun = Instant::now();
    busy.write_all(REQUEST)?;
    wait::until("it has begun", READY, is_read)?;
    server.work_for(STALL);
    let fault = SystemTime::now();
    for stream in others {
        stream.write_all(REQUEST)?;
    }
    let taken = begun.elapsed();
    ensure!(
        taken < BUSY || scale::is_slow(),
        "the others asked after {taken:?}: the server had nothing to do"
    );
    let map = EXPECTED.named(&agent, fault, fault + BUSY + LIMIT)?;
    let waiting = map.evidence("waiting");
    agent.compare(waiting == Some(WAITING as f64), || {
        format!("{WAITING} requests wait and {waiting:?} are told")
    })?;
    server.work_for(Duration::ZERO);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}

/// Clients that go away unread leave nothing behind that looks like a wait.
#[test]
fn who_gave_up_waits_no_more() -> Result<()> {
    let test = "l7_application::application_stalled::who_gave_up_waits_no_more";
    let Some(_turn) = skip::ready(test, &[Need::Program("nginx")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let nginx = Nginx::start(&pair.server, target)?;
    let agent = Agent::watch(&pair.server)?;
    nginx.signal_workers(Signal::STOP)?;
    let fault = SystemTime::now();
    let asked = load::ask(&pair.client, target, WAITING)?;
    let map = EXPECTED.named(&agent, fault, SystemTime::now() + LIMIT)?;
    for stream in &asked {
        // Closing resets the connection: the server's socket ends with its request unread.
        rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    }
    drop(asked);
    EXPECTED.resolves(&agent, &map)?;
    nginx.signal_workers(Signal::CONT)?;
    EXPECTED.stop(agent).map(drop)
}
