//! A web server's worker is stopped: the kernel takes requests for it, and nobody reads them.
//!
//! First evidence: the first request has waited for a second.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, rows, sum};
use osi_tests::topology::{Family, Pair};
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
    let waiting = rows(map.verdict(), "evidence")
        .find(|row| row["signal"] == "waiting")
        .and_then(|row| row["value"].as_f64());
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
