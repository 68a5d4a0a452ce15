//! A server ends, and its clients go on connecting.
//!
//! First evidence: the first connect that is refused.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::{self, Plan};
use osi_tests::netns::Namespace;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, wait};

const EXPECTED: Expected = Expected {
    cause: "no_listener",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const PORT: u16 = 7;
/// Longer than any restart that is forgiven.
const CONNECTS: u64 = 360;
const PER_SECOND: u64 = 40;

#[test]
fn no_listener() -> Result<()> {
    scenario("l4_transport::no_listener::no_listener", Family::V4)
}

#[test]
fn no_listener_v6() -> Result<()> {
    scenario("l4_transport::no_listener::no_listener_v6", Family::V6)
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &["nstat", "ss"].map(Need::Program))? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(family, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let agent = Agent::watch(&pair.server)?;
    // It must have been seen to be missed.
    agent.wait_for_window(SystemTime::now(), 3)?;
    let resets = || counters::snmp(&pair.server, "TcpOutRsts");
    let before = resets()?;

    let fault = SystemTime::now();
    drop(server);
    nobody_listens(&pair.server)?;
    let clients = load::connections(&pair.client, Plan::connects(target, CONNECTS, PER_SECOND))?;
    let evidence = wait::until_above("resets", before, Duration::from_secs(5), resets)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["local"] == target.ip().to_string() && scope["port"] == PORT,
        || format!("nobody listens at {target} any more, not at {scope}"),
    )?;
    agent.ensure(map.verdict()["state"] == "warn", || {
        "at first it may be a restart".to_owned()
    })?;
    agent.wait_for("it to be no restart", INTERVAL * 12, |line| {
        line.is_fault_map()
            && line.cause() == Some(EXPECTED.cause)
            && line.verdict()["state"] == "critical"
    })?;

    let report = clients.join()?;
    let refused = report.errors_of(libc::ECONNREFUSED);
    ensure!(refused == CONNECTS, "they ended with {:?}", report.errors);
    let reset = resets()? - before;
    // Before 5.17 a SYN dropped while somebody listens is not told from one that nobody listened to.
    agent.wait_for_window(SystemTime::now(), 1)?;
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    drop(server);
    let counted = growth(&lines, "L4", "syns_refused");
    stream::ensure_counted(&lines, "refused SYNs", refused, counted)?;
    stream::ensure_counted(&lines, "TcpOutRsts", reset, counted)
}

/// A program that is being started beside this one has its sockets as well, until it is another.
fn nobody_listens(host: &Namespace) -> Result<()> {
    wait::until("nobody listens", Duration::from_secs(5), || {
        Ok((!counters::is_listening(host, PORT)?).then_some(()))
    })
}

/// With the default scope the clients' own trouble is seen, too, and explained.
#[test]
fn explains_refusals_on_this_host() -> Result<()> {
    let test = "l4_transport::no_listener::explains_refusals_on_this_host";
    let Some(_turn) = skip::ready(test, &[Need::Program("ss")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let agent = Agent::watch_all()?;
    agent.wait_for_window(SystemTime::now(), 3)?;
    drop(server);
    nobody_listens(&pair.server)?;
    let clients = load::connections(&pair.client, Plan::connects(target, CONNECTS, PER_SECOND))?;
    let of = |name: String, cause: &'static str| {
        move |line: &stream::Line| {
            line.kind() == "finding"
                && line.value()["cause"] == cause
                && line.value()["scope"]["netns"]["name"] == name
                && line.value()["scope"]["port"] == PORT
        }
    };
    let patience = INTERVAL * (HARD as u32 + 4);
    let gone = of(pair.server.name().to_owned(), EXPECTED.cause);
    let root = agent.wait_for("the server to be missed", patience, gone)?;
    let id = root.value()["id"].as_str().context("no id")?.to_owned();
    let refused = of(pair.client.name().to_owned(), "connection_refused");
    agent.wait_for("the refusals to be explained", patience, |line| {
        let explained = &line.value()["explained_by"];
        refused(line)
            && explained
                .as_array()
                .is_some_and(|all| all.iter().any(|by| *by == *id))
    })?;
    clients.join()?;
    agent.stop().map(drop)
}
