//! A handler that answered within milliseconds needs sixty times as long, or does not answer any more. What applications do with
//! their connections tells that the application is slow, which is the root; where the kernel refuses to tell it, its answers tell it
//! alone.
//!
//! First evidence: the first answer after that long, or the first request that has waited for longer than is allowed for.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::http::{browse, stay};
use osi_tests::proxy::Haproxy;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{Line, rows};
use osi_tests::topology::{Family, Pair};
use rustix::process::Signal;

const SLOW_ANSWERS: Expected = Expected {
    cause: "http_slow",
    layer: "L7",
    within: STATISTICAL,
    beside: &[],
};
const SLOW_APPLICATION: Expected = Expected {
    cause: "application_slow",
    // What is seen on the wire may open a window before what the sockets tell.
    beside: &["http_slow"],
    ..SLOW_ANSWERS
};
const SLOW_SERVER: Expected = Expected {
    cause: "dependency_slow",
    beside: &["http_slow", "application_slow"],
    ..SLOW_ANSWERS
};

const PORT: u16 = 80;
const USUAL: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(400);
/// Clients, each of which asks so often a second where it can.
const CLIENTS: usize = 4;
const PER_SECOND: u32 = 5;
/// Ten windows to learn from, five to be slow in, and twelve to recover.
const REQUESTS: u64 = 135;

/// What the agent can see.
#[derive(Clone, Copy, PartialEq)]
enum View {
    Server,
    Proxy,
    /// The server, but not what it does with its connections.
    Wire,
}

fn http_slow(test: &str, view: View) -> Result<()> {
    let needs = ["haproxy", "curl"].map(Need::Program);
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let back = Pair::server_at(Family::V4, PORT);
    let server = Server::start(&pair.server, back, Behaviour::Web)?;
    server.work_for(USUAL);
    let front = Pair::client_at(Family::V4, 8080);
    let proxy = (view == View::Proxy)
        .then(|| Haproxy::start(&pair.client, front, back))
        .transpose()?;
    let (watched, clients, target) = match view {
        View::Server | View::Wire => (&pair.server, &pair.client, back),
        View::Proxy => (&pair.client, &pair.server, front),
    };
    let (expected, options): (_, &[&str]) = match view {
        View::Server => (SLOW_APPLICATION, &[]),
        View::Proxy => (SLOW_SERVER, &[]),
        View::Wire => (SLOW_ANSWERS, &["--probe-variant", "exchanges=none"]),
    };
    let agent = Agent::watch_with(watched, options)?;
    let load = (0..CLIENTS).map(|_| browse(clients, target, "/", REQUESTS, PER_SECOND));
    let load = load.collect::<Result<Vec<_>>>()?;
    agent.wait_for_window(SystemTime::now(), 10)?;

    let fault = SystemTime::now();
    server.work_for(SLOW);
    let map = expected.named(&agent, fault, fault + SLOW)?;
    if view != View::Wire {
        agent.wait_for("slow answers as a symptom", INTERVAL * 3, |line| {
            line.cause() == Some(expected.cause)
                && rows(line.verdict(), "symptoms").any(|row| row["cause"] == "http_slow")
                && rows(line.verdict(), "other_roots").next().is_none()
        })?;
    }

    server.work_for(USUAL);
    expected.resolves(&agent, &map)?;
    for client in load {
        let told = client.join()?;
        ensure!(told.of(200) == REQUESTS, "{told:?}");
    }
    drop(proxy);
    expected.stop(agent).map(drop)
}

#[test]
fn a_slow_handler() -> Result<()> {
    http_slow("l7_application::http_slow::a_slow_handler", View::Server)
}

#[test]
fn a_slow_handler_of_which_only_answers_are_seen() -> Result<()> {
    let test = "l7_application::http_slow::a_slow_handler_of_which_only_answers_are_seen";
    http_slow(test, View::Wire)
}

#[test]
fn a_slow_server_behind_a_proxy() -> Result<()> {
    let test = "l7_application::http_slow::a_slow_server_behind_a_proxy";
    http_slow(test, View::Proxy)
}

/// Of the silence of a server.
const SILENT: Duration = Duration::from_secs(1);
/// More than may wait for reasons of their own, and each on a connection that stays open: none waits to be accepted.
const STAYING: u64 = 6;

/// Requests lie in the sockets of a stopped worker, whose accept queue has room. Without the probe that tells so, only the answers
/// that do not come do: at the server, and at the client.
#[test]
fn a_stopped_server_that_nothing_else_tells() -> Result<()> {
    let test = "l7_application::http_slow::a_stopped_server_that_nothing_else_tells";
    let needs = ["nginx", "curl"].map(Need::Program);
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let nginx = Nginx::start(&pair.server, target)?;
    let sides = [("listener", &pair.server), ("peer", &pair.client)];
    let agents = sides.map(|(kind, host)| {
        let agent = Agent::watch_with(host, &["--probe-variant", "exchanges=none"])?;
        Ok((kind, agent))
    });
    let agents = agents.into_iter().collect::<Result<Vec<_>>>()?;
    let load = (0..STAYING).map(|_| stay(&pair.client, target, REQUESTS, PER_SECOND));
    let load = load.collect::<Result<Vec<_>>>()?;
    for (_, agent) in &agents {
        let probe = agent.probe("exchanges")?;
        agent.ensure(probe["state"] == "unavailable", || probe.to_string())?;
        agent.wait_for_window(SystemTime::now(), 10)?;
    }

    nginx.signal_workers(Signal::STOP)?;
    let fault = SystemTime::now();
    let mut told = Vec::new();
    for (kind, agent) in &agents {
        let map = SLOW_ANSWERS.named(agent, fault, fault + SILENT)?;
        is_silent(agent, &map, kind)?;
        told.push(map);
    }

    nginx.signal_workers(Signal::CONT)?;
    for (map, (_, agent)) in told.iter().zip(&agents) {
        SLOW_ANSWERS.resolves(agent, map)?;
    }
    for client in load {
        let answered = client.join()?;
        ensure!(answered == REQUESTS, "{answered} of {REQUESTS} answers");
    }
    for (_, agent) in agents {
        SLOW_ANSWERS.stop(agent)?;
    }
    Ok(())
}

/// The verdict is about that kind of scope, and about all requests, none of which has an answer.
fn is_silent(agent: &Agent, map: &Line, kind: &str) -> Result<()> {
    let scope = &map.verdict()["scope"];
    agent.ensure(scope["kind"] == kind && scope["port"] == PORT, || {
        format!("the {kind} at port {PORT} is silent, not {scope}")
    })?;
    let (waiting, since) = (map.evidence("waiting"), map.evidence("http_time"));
    agent.compare(
        waiting == Some(STAYING as f64) && since > Some(SILENT.as_nanos() as f64),
        || format!("{STAYING} requests wait; told are {waiting:?}, the first for {since:?} ns"),
    )
}
