//! What the waits of requests say of three real servers: at rest, under load, and stopped.

use std::fmt;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, HARD};
use osi_tests::real::{Asked, Kind, Real};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{Line, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{load, report, stream};
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
/// Clients that ask when it is stopped.
const OTHERS: usize = 5;
/// How long a request waits before its application is said to be stalled.
const LIMIT: Duration = Duration::from_secs(1);
/// The map is made so long after its window has ended, at most.
const AT_MOST: Duration = Duration::from_millis(200);
/// What a send takes beyond the arrival of what it sends.
const SEND_US: u64 = 20;
/// Share of their time here that requests wait to be read where some clients ask all the time.
const BUSY: f64 = 0.01;
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

    let (few, _) = told_of(&agent, || server.ask(&pair.client, CONNECTIONS, FEW))?;
    let (many, asked) = told_of(&agent, || server.ask(&pair.client, CONNECTIONS, MANY))?;
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
    many.is_within(&agent, asked)?;
    report::say("told", &format!("under load {many}"))?;
    calm_so_far(&agent)?;

    let load = server.keep_asking(&pair.client, CONNECTIONS, ENDLESS)?;
    let busy = SystemTime::now();
    agent.wait_for_window(busy, 3)?;
    calm_so_far(&agent)?;
    server.signal(Signal::STOP)?;
    let fault = SystemTime::now();
    // Who waits for an answer asks no more, and redis reads all requests before it answers any: it may have read them all.
    let others = load::send(&pair.client, target, OTHERS, kind.greeting())?;
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
    // Its other clients' requests may be read, or not.
    let waiting = map.evidence("waiting").unwrap_or(0.0);
    let (least, most) = (OTHERS as f64, OTHERS as f64 + CONNECTIONS as f64);
    agent.ensure((least..=most).contains(&waiting), || {
        format!("{waiting} of {least} to {most} wait")
    })?;
    // In the window before, something may have been read until it was stopped.
    let silence = agent.wait_for("a full share", INTERVAL * 3, |line| {
        let is_later = line.time().is_ok_and(|time| time >= fault);
        line.is_fault_map() && is_later && line.layer("L7")["saturation_ratio"] == 1.0
    })?;
    let stopped = Told::of(std::slice::from_ref(&silence));
    let (oldest, elapsed) = (stopped.oldest, silence.time()?.duration_since(fault)?);
    agent.compare((LIMIT..=elapsed + AT_MOST).contains(&oldest), || {
        format!("stopped for {elapsed:?}, and the oldest request waits for {oldest:?}")
    })?;
    report::say("told", &format!("stopped, {waiting} waiting, {stopped}"))?;

    server.signal(Signal::CONT)?;
    drop(load);
    drop(others);
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

/// What is told while a client asks, and in the window after it; and what the client says.
fn told_of(agent: &Agent, ask: impl FnOnce() -> Result<Asked>) -> Result<(Told, Asked)> {
    let begun = SystemTime::now();
    let asked = ask()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let told = Told::since(agent, begun)?;
    ensure!(told.answers > 0, "nothing was answered");
    Ok((told, asked))
}

/// The layer's own words about one span of time.
struct Told {
    reads: u64,
    answers: u64,
    /// Medians are those of the window with the most of them, 99th percentiles the largest of all windows.
    dwell_p50_us: u64,
    dwell_p99_us: u64,
    response_p50_us: u64,
    response_p99_us: u64,
    share: f64,
    /// How long the first of those has waited that wait to be read; the longest of all windows.
    oldest: Duration,
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
        let median_us = |signal| {
            let count = |map: &&Line| map.latency("L7", signal, "count");
            let busiest = maps.iter().max_by_key(count);
            let median = busiest.and_then(|map| map.latency("L7", signal, "p50_ns"));
            median.unwrap_or(0) / 1000
        };
        let oldest_ns = figures("request_dwell", "oldest_age_ns").max();
        let shares = maps
            .iter()
            .flat_map(|map| map.meters("L7", "queueing_share"));
        Self {
            reads: figures("request_dwell", "count").sum(),
            answers: figures("response_time", "count").sum(),
            dwell_p50_us: median_us("request_dwell"),
            dwell_p99_us: most_us("request_dwell", "p99_ns"),
            response_p50_us: median_us("response_time"),
            response_p99_us: most_us("response_time", "p99_ns"),
            share: shares
                .filter_map(|row| row["ratio"].as_f64())
                .fold(0.0, f64::max),
            oldest: Duration::from_nanos(oldest_ns.unwrap_or(0)),
        }
    }

    /// A request waits to be read and is then answered while its client waits for the answer: in one window's buckets, half of
    /// both together are at most what half of the client's requests took. And requests that come while others are answered wait.
    fn is_within(&self, agent: &Agent, asked: Asked) -> Result<()> {
        let (dwell, response) = (self.dwell_p50_us, self.response_p50_us);
        let client = asked.median.as_micros() as u64;
        // The upper ends of two buckets of 9 %, and a send that ends after its answer has arrived.
        agent.compare(dwell + response <= client * 6 / 5 + SEND_US, || {
            format!(
                "the client says {client} us, the agent {dwell} us unread and {response} us until the answer"
            )
        })?;
        agent.compare(self.share > BUSY, || {
            format!("under load, queueing has a share of {:.3}", self.share)
        })
    }
}

impl fmt::Display for Told {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reads,
            answers,
            dwell_p50_us: unread,
            dwell_p99_us: dwell,
            response_p50_us: median,
            response_p99_us: response,
            share,
            oldest,
        } = self;
        write!(
            to,
            "{reads} read and {answers} answered, dwell p50 {unread} us p99 {dwell} us, response p50 {median} us p99 {response} us, queueing share {share:.3}, the oldest unread for {oldest:?}"
        )
    }
}
