//! Who owns a listener, and who never is taken for the actor.
//!
//! A server with workers listens with a backlog of 1, and nobody accepts; the truth are its own process ids and what `ss -p` lists.

use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::cgroup::NamedGroup;
use osi_tests::expect::{Expected, HARD};
use osi_tests::lab_program::{Prefork, Serving};
use osi_tests::load::{self, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, processes, wait};
use serde_json::Value;

const EXPECTED: Expected = Expected {
    cause: "accept_queue_overflow",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const PORT: u16 = 8080;
const WORKERS: u32 = 3;
/// Connections that each worker accepts where any does.
const ACCEPTS: u32 = 4;
const CONTAINER: &str = "5e1f7a9b3c2d4e6f8091a2b3c4d5e6f70123456789abcdef0123456789abcdef";
const POD: &str = "0b6f2c1a-8d3e-4f5a-9b7c-1d2e3f4a5b6c";
/// A walk through the descriptors is asked for every 5 s at most, and its result is in the window after the next.
const COUNTED: Duration = Duration::from_secs(12);

fn prefork() -> &'static str {
    env!("CARGO_BIN_EXE_prefork")
}

const fn serving(backlog: u32, workers: u32, accepts: u32) -> Serving {
    Serving {
        backlog,
        workers,
        accepts,
    }
}

/// Ten connects to a queue of two: the kernel's first overflow.
fn overflow(pair: &Pair) -> Result<(SystemTime, SystemTime)> {
    let fault = SystemTime::now();
    let target = Pair::server_at(Family::V4, PORT);
    let connects =
        load::connect_all_at_once(&pair.client, target, 10, Duration::from_millis(3500))?;
    let overflows = || counters::snmp(&pair.server, "TcpExtListenOverflows");
    let evidence = wait::until_above("overflows", 0, Duration::from_secs(2), overflows)?;
    connects.join()?;
    Ok((fault, evidence))
}

fn held_by(map: &Line) -> Vec<u64> {
    rows(&map.verdict()["owner"], "held_by")
        .filter_map(|process| process["pid"].as_u64())
        .collect()
}

/// Waits for the count of processes, and compares them with what `ss` lists.
fn shared_as_ss_says(agent: &Agent, pair: &Pair) -> Result<Line> {
    let holders = counters::holders(&pair.server, PORT)?;
    let map = agent.wait_for("the processes that share the listener", COUNTED, |line| {
        line.is_fault_map() && line.verdict()["owner"]["processes"] == holders.len()
    })?;
    let told = held_by(&map);
    stream::ensure(&agent.lines(), told == holders, || {
        format!("ss lists the processes {holders:?}, the agent {told:?}")
    })?;
    Ok(map)
}

#[test]
fn a_shared_listener_is_named_by_who_opened_it() -> Result<()> {
    let test = "l4_transport::listener_owner::a_shared_listener_is_named_by_who_opened_it";
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let (outer, pod) = (
        format!("osi-{}-kubepods", std::process::id()),
        format!("pod{POD}"),
    );
    let container = format!("cri-containerd-{CONTAINER}.scope");
    let Some(group) = NamedGroup::create(&[&outer, &pod, &container])? else {
        return skip::skip(test, "no cgroup2 hierarchy is mounted");
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.server)?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = Prefork::start(
        &pair.server,
        &group.starter()?,
        prefork(),
        target,
        serving(1, WORKERS, 0),
    )?;
    let (fault, evidence) = overflow(&pair)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    let opened_by = &map.verdict()["owner"]["opened_by"];
    let started = processes::start_time(server.pid())?;
    let is_master = opened_by["pid"] == server.pid()
        && opened_by["start_time"] == started
        && opened_by["comm"] == "prefork";
    stream::ensure(&agent.lines(), is_master, || {
        format!(
            "process {} that started at {started} called listen(), the agent says {opened_by}",
            server.pid()
        )
    })?;
    let is_contained = opened_by["container"] == CONTAINER && opened_by["pod_uid"] == POD;
    stream::ensure(&agent.lines(), is_contained, || {
        format!("it runs in container {CONTAINER} of pod {POD}, the agent says {opened_by}")
    })?;

    let map = shared_as_ss_says(&agent, &pair)?;
    let opened_by = &map.verdict()["owner"]["opened_by"];
    agent.ensure(opened_by["pid"] == server.pid(), || {
        format!("the master stays the opener, not {opened_by}")
    })?;
    drop(server);
    drop(group);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}

#[test]
fn a_listener_from_before_is_named_by_who_holds_it() -> Result<()> {
    let test = "l4_transport::listener_owner::a_listener_from_before_is_named_by_who_holds_it";
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = Prefork::start(&pair.server, &[], prefork(), target, serving(1, 0, 0))?;
    let agent = Agent::watch(&pair.server)?;
    let (fault, evidence) = overflow(&pair)?;
    let named = EXPECTED.named(&agent, fault, evidence)?;
    let map = shared_as_ss_says(&agent, &pair)?;
    let owner = &map.verdict()["owner"];
    let started = processes::start_time(server.pid())?;
    agent.ensure(
        owner["opened_by"] == Value::Null && owner["held_by"][0]["start_time"] == started,
        || format!("nobody saw who opened it, and {owner} was said"),
    )?;
    let who = format!("prefork (pid {})", server.pid());
    let advice = &rows(map.verdict(), "advice").next().context("no advice")?["text"];
    agent.ensure(
        advice.as_str().is_some_and(|text| text.contains(&who)),
        || format!("{who} alone can accept, and the advice is {advice}"),
    )?;
    drop(server);
    EXPECTED.resolves(&agent, &named)?;
    EXPECTED.stop(agent).map(drop)
}

/// A master that listens, and workers that accept, keep what they have, and accept no more.
#[test]
fn workers_are_named_as_who_serves() -> Result<()> {
    served(
        "l4_transport::listener_owner::workers_are_named_as_who_serves",
        WORKERS,
    )
}

/// Socket activation: one process listens, and another that it started alone accepts.
#[test]
fn who_was_started_with_the_socket_is_named_as_who_serves() -> Result<()> {
    served(
        "l4_transport::listener_owner::who_was_started_with_the_socket_is_named_as_who_serves",
        1,
    )
}

fn served(test: &str, workers: u32) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.server)?;
    let target = Pair::server_at(Family::V4, PORT);
    let program = serving(1, workers, ACCEPTS);
    let server = Prefork::start(&pair.server, &[], prefork(), target, program)?;
    // One after the other: the queue holds two.
    let kept = pair.client.run(|| {
        let connect = |_| {
            let stream = TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
            wait::until("a worker to accept", Duration::from_secs(5), || {
                Ok((counters::accept_queue(&pair.server, PORT)? == 0).then_some(()))
            })?;
            Ok(stream)
        };
        (0..workers * ACCEPTS)
            .map(connect)
            .collect::<Result<Vec<_>>>()
    })?;
    let (fault, evidence) = overflow(&pair)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    let mut children = processes::children(server.pid())?;
    children.sort_unstable();
    let map_with = agent.wait_for("who serves the listener", COUNTED, |line| {
        line.is_fault_map() && line.verdict()["owner"]["servers"] == workers
    })?;
    let owner = &map_with.verdict()["owner"];
    let pids: Vec<_> = rows(owner, "served_by")
        .map(|process| process["pid"].as_u64())
        .collect();
    let all: Vec<_> = children.iter().map(|pid| Some(u64::from(*pid))).collect();
    let started = processes::start_time(children[0])?;
    agent.ensure(
        pids == all
            && owner["served_by"][0]["start_time"] == started
            && owner["opened_by"]["pid"] == server.pid(),
        || {
            format!(
                "process {} listens and {children:?} serve, the agent says {owner}",
                server.pid()
            )
        },
    )?;
    let who = format!("why prefork (pid {}", children[0]);
    let advice = &rows(map_with.verdict(), "advice")
        .next()
        .context("no advice")?["text"];
    agent.ensure(
        advice.as_str().is_some_and(|text| text.contains(&who)),
        || format!("{children:?} serve, and the advice is {advice}"),
    )?;
    drop(kept);
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}

/// Both ends on one host: what softirq does for the server runs in the client's system calls.
#[test]
fn a_server_is_never_taken_for_the_client() -> Result<()> {
    let test = "l4_transport::listener_owner::a_server_is_never_taken_for_the_client";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let (open, closed) = (
        Pair::server_at(Family::V4, PORT),
        Pair::server_at(Family::V4, PORT + 1),
    );
    let agent = Agent::watch(&pair.server)?;
    let server = Prefork::start(&pair.server, &[], prefork(), open, serving(64, 1, 0))?;
    let connected = load::connections(&pair.server, Plan::connects(open, 40, 40))?.join()?;
    let refused = load::connections(&pair.server, Plan::connects(closed, 40, 40))?.join()?;
    agent.ensure(
        connected.connected == 40 && refused.errors_of(libc::ECONNREFUSED) == 40,
        || format!("the connects ended with {:?}", (&connected, &refused)),
    )?;
    drop(server);
    agent.wait_for_window(SystemTime::now(), 1)?;
    let lines = agent.stop()?;
    let events = lines.iter().filter(|line| line.kind() == "event");
    let actors: Vec<_> = events
        .map(|line| &line.value()["process"]["pid"])
        .filter(|pid| !pid.is_null())
        .collect();
    let own = std::process::id();
    stream::ensure(
        &lines,
        !actors.is_empty() && actors.iter().all(|pid| **pid == own),
        || format!("process {own} connected, and the events blame {actors:?}"),
    )
}
