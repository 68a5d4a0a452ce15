//! Connects to a port that nobody listens on.
//!
//! First evidence: the first connect that returns ECONNREFUSED, at once.

use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::cgroup::NamedGroup;
use osi_tests::daemon::Waiting;
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::{self, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, is_errno};
use osi_tests::topology::{Family, Routed};
use osi_tests::wait;

const EXPECTED: Expected = Expected {
    cause: "connection_refused",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const CONNECTS: u64 = 40;
const PORT: u16 = 81;

#[test]
fn connection_refused() -> Result<()> {
    scenario(
        "l4_transport::connection_refused::connection_refused",
        Family::V4,
    )
}

#[test]
fn connection_refused_v6() -> Result<()> {
    scenario(
        "l4_transport::connection_refused::connection_refused_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(family, PORT);
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    let plan = Plan::connects(target, CONNECTS, 40);
    let report = load::connections(&lab.client, plan)?.join()?;
    let refused = report.errors_of(libc::ECONNREFUSED);
    agent.ensure(refused == CONNECTS, || {
        format!("the connects ended with {:?}", report.errors)
    })?;
    let evidence = report.first_error.context("no connect failed")?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["remote"] == target.ip().to_string() && scope["port"] == PORT,
        || format!("{target} refuses, not {scope}"),
    )?;

    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let told = event_count(&lines, "connect_failed", |event| {
        is_errno(event, libc::ECONNREFUSED, "ECONNREFUSED")
    });
    stream::ensure_counted(&lines, "refused connects", CONNECTS, told)
}

/// With the default scope the machine's other namespaces are seen as well, so the finding is looked for by its scope.
#[test]
fn named_among_all_namespaces() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l4_transport::connection_refused::named_among_all_namespaces",
        &[],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, PORT);
    let agent = Agent::watch_all()?;
    let plan = Plan::connects(target, CONNECTS, 40);
    let report = load::connections(&lab.client, plan)?.join()?;
    agent.ensure(report.errors_of(libc::ECONNREFUSED) == CONNECTS, || {
        format!("the connects ended with {:?}", report.errors)
    })?;
    let client = lab.client.name();
    let named = agent.wait_for(
        &format!("{target} to be named as refusing {client}"),
        INTERVAL * (HARD as u32 + 2),
        |line| {
            let scope = &line.value()["scope"];
            line.kind() == "finding"
                && line.value()["cause"] == EXPECTED.cause
                && scope["netns"]["name"] == client
                && scope["remote"] == target.ip().to_string()
                && scope["port"] == PORT
        },
    )?;
    let id = named.value()["id"].as_str().unwrap_or("").to_owned();
    agent.wait_for("a fault map with it", INTERVAL * 2, |line| {
        line.is_fault_map() && line.has_open(&id)
    })?;
    agent.stop().map(drop)
}

const CONTAINER: &str = "5e1f7a9b3c2d4e6f8091a2b3c4d5e6f70123456789abcdef0123456789abcdef";

/// A container's namespace has no name of its own: it is told by the container.
#[test]
fn named_by_the_container_of_its_namespace() -> Result<()> {
    let test = "l4_transport::connection_refused::named_by_the_container_of_its_namespace";
    let Some(_turn) = skip::ready(test, &[Need::Program("unshare")])? else {
        return Ok(());
    };
    let outer = format!("osi-{}-docker", std::process::id());
    let Some(group) = NamedGroup::create(&[&outer, CONTAINER])? else {
        return skip::skip(test, "no cgroup2 hierarchy is mounted");
    };
    let [shell, words @ ..] = group.starter()?;
    let connects =
        format!("ip link set lo up && read -r go && exec \"$0\" 127.0.0.1:{PORT} {CONNECTS}");
    let mut client = Waiting::start(
        Command::new(shell)
            .args(words)
            .args(["unshare", "--net", "sh", "-c", &connects])
            .arg(env!("CARGO_BIN_EXE_hold-connections")),
    )?;
    let own = std::fs::read_link("/proc/self/ns/net")?;
    let link = format!("/proc/{}/ns/net", client.pid());
    wait::until("a namespace of its own", Duration::from_secs(5), || {
        Ok((std::fs::read_link(&link)? != own).then_some(()))
    })?;
    let agent = Agent::watch_all()?;
    client.go()?;
    let named = agent.wait_for("who refuses inside the container", INTERVAL * 10, |line| {
        line.kind() == "finding"
            && line.value()["cause"] == EXPECTED.cause
            && line.value()["scope"]["netns"]["container"] == CONTAINER
    })?;
    let words = format!("in the namespace of container {}", &CONTAINER[..12]);
    let summary = &named.value()["summary"];
    agent.ensure(
        summary.as_str().is_some_and(|text| text.contains(&words)),
        || format!("the namespace is not told in {summary}"),
    )?;
    drop(client);
    agent.stop().map(drop)
}
