//! What the waits of requests say of three real servers: at rest, under load, and stopped.

use std::fmt;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::real::{Kind, Real};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{Line, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{report, stream};
use rustix::process::Signal;

const STOPPED: Expected = Expected {
    cause: "application_stalled",
    layer: "L7",
    within: HARD,
    beside: &[],
};

const PORT: u16 = 7000;
const CONNECTIONS: u64 = 8;
/// Clients say more than they are asked to: they greet, and look around. What that comes to is seen in a short run.
const FEW: u64 = CONNECTIONS;
const MANY: u64 = 4000 + FEW;
/// Not nearly done when the server is stopped.
const ENDLESS: u64 = 2_000_000;
/// How long a request waits before its application is said to be stalled.
const LIMIT: Duration = Duration::from_secs(1);
/// Windows at rest.
const REST: usize = 3;

#[test]
fn redis() -> Result<()> {
    tells("l7_application::real_servers::redis", Kind::Redis)
}

#[test]
fn postgres_over_tls() -> Result<()> {
    tells(
        "l7_application::real_servers::postgres_over_tls",
        Kind::Postgres,
    )
}

#[test]
fn nginx_with_a_file() -> Result<()> {
    tells(
        "l7_application::real_servers::nginx_with_a_file",
        Kind::Nginx,
    )
}

fn tells(test: &str, kind: Kind) -> Result<()> {
    let Some(_turn) = skip::ready_alone(test, &kind.programs().map(Need::Program))? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = Real::start(&pair.server, kind, target)?;
    let agent = Agent::watch(&pair.server)?;

    let rest = SystemTime::now();
    agent.wait_for_window(rest, REST)?;
    let at_rest = Told::since(&agent, rest)?;
    agent.ensure(at_rest.answers == 0 && at_rest.share == 0.0, || {
        format!("nobody asks, and {at_rest}")
    })?;
    report::say("told", &format!("at rest {at_rest}"))?;

    let few = told_of(&agent, || server.ask(&pair.client, CONNECTIONS, FEW))?;
    let many = told_of(&agent, || server.ask(&pair.client, CONNECTIONS, MANY))?;
    let offered = MANY - FEW;
    for (what, more) in [
        ("requests were read", many.reads.abs_diff(few.reads)),
        ("were answered", many.answers.abs_diff(few.answers)),
    ] {
        agent.ensure(
            more.abs_diff(offered) <= kind.farewells(CONNECTIONS),
            || format!("{more} {what} of {offered}"),
        )?;
        report::say("compared", &format!("{offered} were asked, {more} {what}"))?;
    }
    report::say("told", &format!("under load {many}"))?;
    calm_so_far(&agent)?;

    let load = server.keep_asking(&pair.client, CONNECTIONS, ENDLESS)?;
    let busy = SystemTime::now();
    agent.wait_for_window(busy, 3)?;
    calm_so_far(&agent)?;
    server.signal(Signal::STOP)?;
    let fault = SystemTime::now();
    let map = STOPPED.named(&agent, fault, fault + LIMIT)?;
    let verdict = map.verdict();
    agent.ensure(
        verdict["scope"]["kind"] == "listener" && verdict["scope"]["port"] == PORT,
        || format!("{target} is stopped, not {verdict}"),
    )?;
    agent.ensure(
        rows(&verdict["owner"], "held_by").any(|process| process["comm"] == kind.comm()),
        || format!("{} holds the listener: {}", kind.comm(), verdict["owner"]),
    )?;
    // It may have read some of the requests, and not answered them, when it was stopped.
    let waiting = rows(verdict, "evidence").find(|row| row["signal"] == "waiting");
    let waiting = waiting.and_then(|row| row["value"].as_f64()).unwrap_or(0.0);
    agent.ensure((1.0..=CONNECTIONS as f64).contains(&waiting), || {
        format!("{waiting} of {CONNECTIONS} wait")
    })?;
    let stopped = Told::of(std::slice::from_ref(&map));
    agent.ensure(map.layer("L7")["saturation_ratio"] == 1.0, || {
        format!("nothing is read, and {stopped}")
    })?;
    report::say("told", &format!("stopped, {waiting} waiting, {stopped}"))?;

    server.signal(Signal::CONT)?;
    drop(load);
    STOPPED.resolves(&agent, &map)?;
    let lines = STOPPED.stop(agent)?;
    let maps = lines.iter().filter(|line| line.is_fault_map()).count();
    stream::ensure(&lines, maps > 0, || format!("{maps} windows in all"))
}

fn calm_so_far(agent: &Agent) -> Result<()> {
    let lines = agent.lines();
    let found = lines.iter().find(|line| line.kind() == "finding");
    agent.ensure(found.is_none(), || {
        format!(
            "a healthy server has {}",
            found.map_or("?".into(), ToString::to_string)
        )
    })
}

/// What is told while something runs, and in the window after it.
fn told_of(agent: &Agent, work: impl FnOnce() -> Result<()>) -> Result<Told> {
    let begun = SystemTime::now();
    work()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let told = Told::since(agent, begun)?;
    ensure!(told.answers > 0, "nothing was answered");
    Ok(told)
}

/// The layer's own words about one span of time.
struct Told {
    reads: u64,
    answers: u64,
    /// Times are the largest of all windows.
    dwell_p99_us: u64,
    response_p50_us: u64,
    response_p99_us: u64,
    share: f64,
}

impl Told {
    fn since(agent: &Agent, time: SystemTime) -> Result<Self> {
        Ok(Self::of(&agent.fault_maps_after(time)?))
    }

    fn of(maps: &[Line]) -> Self {
        let figures = |signal, figure| {
            maps.iter()
                .filter_map(move |map| map.latency("L7", signal, figure))
        };
        let most_us = |signal, figure| figures(signal, figure).max().unwrap_or(0) / 1000;
        let shares = maps
            .iter()
            .flat_map(|map| map.meters("L7", "queueing_share"));
        Self {
            reads: figures("request_dwell", "count").sum(),
            answers: figures("response_time", "count").sum(),
            dwell_p99_us: most_us("request_dwell", "p99_ns"),
            response_p50_us: most_us("response_time", "p50_ns"),
            response_p99_us: most_us("response_time", "p99_ns"),
            share: shares
                .filter_map(|row| row["ratio"].as_f64())
                .fold(0.0, f64::max),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reads,
            answers,
            dwell_p99_us: dwell,
            response_p50_us: median,
            response_p99_us: response,
            share,
        } = self;
        write!(
            to,
            "{reads} read and {answers} answered, dwell p99 {dwell} us, response p50 {median} us p99 {response} us, queueing share {share:.3}"
        )
    }
}
