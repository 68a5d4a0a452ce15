//! A handler that answered within milliseconds needs sixty times as long. What applications do with their connections tells that
//! the application is slow, which is the root; where the kernel refuses to tell it, its answers tell it alone.
//!
//! First evidence: the first answer after that long.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::http::browse;
use osi_tests::proxy::Haproxy;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::rows;
use osi_tests::topology::{Family, Pair};

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
