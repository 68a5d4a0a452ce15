//! Application stopped → its accept queue overflows → handshakes of its clients time out; or their data is not read, and their
//! windows close; or their requests have no answer.
//!
//! Every namespace is watched, that of the clients and that of the server, but for HTTP.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, HARD, STATISTICAL};
use osi_tests::http::stay;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, load, unread, wait};
use rustix::process::Signal;

use super::told;

const STALLED: Expected = Expected {
    cause: "application_stalled",
    layer: "L7",
    within: HARD,
    // What it causes may be seen before a request has waited for a second.
    beside: &["accept_queue_overflow"],
};
/// A single connection is a warning.
const UNREAD: Expected = Expected {
    within: STATISTICAL,
    beside: &["peer_not_reading"],
    ..STALLED
};

const PORT: u16 = 80;
const BACKLOG: usize = 4;
/// They find the queue full, and give up after a few SYNs.
const HANGING: u64 = 8;
const PATIENCE: Duration = Duration::from_millis(3500);
/// On connections that stay open; ten windows to learn from, and what is left for the fault and its end.
const CLIENTS: usize = 6;
const REQUESTS: u64 = 135;
const PER_SECOND: u32 = 5;
const LEARNT: usize = 10;
/// How long a request waits before its application is said to be stalled.
const LIMIT: Duration = Duration::from_secs(1);

#[test]
fn accept_queue_and_handshakes() -> Result<()> {
    let test = "cascades::application_stopped::accept_queue_and_handshakes";
    let needs = ["nginx", "nstat"].map(Need::Program);
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    pair.server
        .set_sysctl("net/core/somaxconn", &BACKLOG.to_string())?;
    let nginx = Nginx::start(&pair.server, target)?;
    let agent = Agent::watch_all()?;
    for stream in load::ask(&pair.client, target, 1)? {
        load::answered(stream)?;
    }

    nginx.signal_workers(Signal::STOP)?;
    let fault = SystemTime::now();
    let asked = load::ask(&pair.client, target, BACKLOG + 1)?;
    let hanging = load::connect_all_at_once(&pair.client, target, HANGING, PATIENCE)?;
    let overflows = || counters::snmp(&pair.server, "TcpExtListenOverflows");
    let evidence = wait::until_above("overflows", 0, Duration::from_secs(5), overflows)?;
    let map = STALLED.named(&agent, fault, evidence + LIMIT)?;
    hanging.join()?;
    told(
        &agent,
        STALLED.cause,
        &["accept_queue_overflow", "handshake_timeout"],
    )?;

    nginx.signal_workers(Signal::CONT)?;
    for stream in asked {
        load::answered(stream)?;
    }
    STALLED.resolves(&agent, &map)?;
    STALLED.stop(agent).map(drop)
}

#[test]
fn requests_without_answers() -> Result<()> {
    let test = "cascades::application_stopped::requests_without_answers";
    let Some(_turn) = skip::ready_alone(test, &["nginx", "curl"].map(Need::Program))? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let nginx = Nginx::start(&pair.server, target)?;
    // What passes an interface is seen of a namespace that is watched alone.
    let agent = Agent::watch(&pair.server)?;
    let load = (0..CLIENTS).map(|_| stay(&pair.client, target, REQUESTS, PER_SECOND));
    let load = load.collect::<Result<Vec<_>>>()?;
    agent.wait_for_window(SystemTime::now(), LEARNT)?;

    nginx.signal_workers(Signal::STOP)?;
    let fault = SystemTime::now();
    let map = STALLED.named(&agent, fault, fault + LIMIT)?;
    told(&agent, STALLED.cause, &["http_slow"])?;

    nginx.signal_workers(Signal::CONT)?;
    STALLED.resolves(&agent, &map)?;
    for client in load {
        let answered = client.join()?;
        ensure!(answered == REQUESTS, "{answered} of {REQUESTS} answers");
    }
    STALLED.stop(agent).map(drop)
}

#[test]
fn zero_windows() -> Result<()> {
    let test = "cascades::application_stopped::zero_windows";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Hold)?;
    let agent = Agent::watch_all()?;

    let fault = SystemTime::now();
    let stream = unread::filled(&pair.client, target)?;
    let map = UNREAD.named(&agent, fault, SystemTime::now() + LIMIT)?;
    told(&agent, UNREAD.cause, &["peer_not_reading"])?;

    drop(stream);
    drop(server);
    UNREAD.resolves(&agent, &map)?;
    UNREAD.stop(agent).map(drop)
}
