//! A web server's worker gets a hundredth of a CPU, and its clients want more; or a server has to give way to others that keep all
//! CPUs busy. Who is slow beside that and reads at once is so by itself.
//!
//! First evidence: the first period in which its cgroup's quota was used up; so much time in which somebody waited for a CPU.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::cgroup::CpuGroup;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::in_turn::{InTurn, Work};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{cpu, scale, wait};

use crate::cascades::told;

const EXPECTED: Expected = Expected {
    cause: "cpu_starved",
    layer: "L7",
    within: STATISTICAL,
    beside: &["application_slow"],
};

const PORT: u16 = 80;
/// The smallest that there is.
const QUOTA: Duration = Duration::from_millis(1);
/// More than the quota is enough for, and fewer in all than fit into a small machine's table of TIME_WAIT.
const PER_SECOND: u64 = 500;
const CONNECTIONS: u64 = 4000;

#[test]
fn cpu_starved() -> Result<()> {
    let test = "l7_application::cpu_starved::cpu_starved";
    let Some(_turn) = skip::ready_to_time(test, &[Need::Program("nginx")])? else {
        return Ok(());
    };
    let Some(group) = CpuGroup::create("starved", scale::patience(QUOTA))? else {
        return skip::skip(test, "no hierarchy of cgroups limits CPU time");
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let nginx = Nginx::start(&pair.server, target)?;
    let [worker] = nginx.workers()?[..] else {
        anyhow::bail!("nginx has more than one worker");
    };
    let agent = Agent::watch(&pair.server)?;

    group.take(worker)?;
    let fault = SystemTime::now();
    let plan = Plan {
        target,
        connections: CONNECTIONS,
        per_second: PER_SECOND,
        connect_timeout: Duration::from_secs(5),
        exchange: Exchange::Http,
    };
    let load = load::connections(&pair.client, plan)?;
    let throttled = || group.throttled();
    let evidence = wait::until_above("throttled periods", 0, Duration::from_secs(5), throttled)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let verdict = map.verdict();
    let process = &verdict["scope"]["process"];
    agent.ensure(process["pid"] == worker, || {
        format!("worker {worker} is throttled, not {process}")
    })?;
    let group_told = rows(verdict, "evidence").find(|row| row["signal"] == "cpu_quota");
    let path = group.path().to_str().context("the path is no text")?;
    agent.ensure(group_told.is_some_and(|row| row["why"] == path), || {
        format!("the quota is that of {path}: {}", verdict["evidence"])
    })?;

    group.lift()?;
    load.join()?;
    EXPECTED.resolves(&agent, &map)?;
    let truth = group.throttled()?;
    drop(nginx);
    let lines = EXPECTED.stop(agent)?;
    let told: f64 = lines
        .iter()
        .filter(|line| line.is_fault_map())
        .flat_map(|line| line.meters("L7", "cpu_throttled"))
        .filter_map(|row| row["used"].as_f64())
        .sum();
    // Periods before the group was found, and before its processes were looked at, are not told.
    stream::ensure(&lines, told > 0.0 && told <= truth as f64, || {
        format!("cpu.stat counts {truth} throttled periods and the agent {told}")
    })
}

/// What a request takes of a CPU: all clients together want two thirds of one.
const WORK: Duration = Duration::from_millis(2);
const CLIENTS: u64 = 16;
const PAUSE: Duration = Duration::from_millis(45);
/// Ten windows to learn from, five to wait in, and twelve to recover.
const REQUESTS: u64 = 450;
/// Of a window, from which on it is pressure.
const PRESSURE: f64 = 0.4;

#[test]
fn others_keep_all_cpus_busy() -> Result<()> {
    let test = "l7_application::cpu_starved::others_keep_all_cpus_busy";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    if scale::is_slow() {
        return skip::skip(test, "a machine that is slow has no CPU time to give away");
    }
    let Some(begun) = cpu::waited_for()? else {
        return skip::skip(test, "the kernel does not tell of pressure on CPUs");
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = InTurn::start(&pair.server, target, Work::Compute)?;
    server.work_for(WORK);
    server.be_nice()?;
    let agent = Agent::watch(&pair.server)?;
    let talk = load::conversation(&pair.client, target, CLIENTS, REQUESTS, PAUSE)?;
    agent.wait_for_window(SystemTime::now(), 10)?;

    let waited_us = || -> Result<u64> {
        let waited = cpu::waited_for()?.context("the pressure is gone")?;
        Ok(waited.saturating_sub(begun).as_micros() as u64)
    };
    let before = waited_us()?;
    let fault = SystemTime::now();
    let busy = cpu::Busy::start()?;
    let first = before + (PRESSURE * 1e6) as u64;
    let evidence = wait::until_above("waits for CPUs", first, Duration::from_secs(5), waited_us)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    told(&agent, EXPECTED.cause, &["application_slow"])?;
    let (waited, elapsed) = (waited_us()? - before, fault.elapsed()?);
    let truth = waited as f64 / elapsed.as_micros() as f64;
    let ratio = map.evidence("cpu_pressure");
    agent.compare(truth > PRESSURE && ratio > Some(PRESSURE), || {
        format!("somebody waited for {truth:.2} of the time, and {ratio:?} is told of a window")
    })?;

    drop(busy);
    EXPECTED.resolves(&agent, &map)?;
    talk.join()?;
    drop(server);
    EXPECTED.stop(agent).map(drop)
}

const OTHER_PORT: u16 = 81;
/// What it takes to answer there, without any CPU: as a rule, and when whatever it waits for is slow.
const NAP: Duration = Duration::from_millis(5);
const LONG_NAP: Duration = Duration::from_millis(500);
/// Ten windows to learn from, and as many as it takes with long naps.
const CHAT: u64 = 300;

#[test]
fn who_reads_at_once_is_slow_by_itself() -> Result<()> {
    let test = "l7_application::cpu_starved::who_reads_at_once_is_slow_by_itself";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    if scale::is_slow() {
        return skip::skip(test, "a machine that is slow has no CPU time to give away");
    }
    if cpu::waited_for()?.is_none() {
        return skip::skip(test, "the kernel does not tell of pressure on CPUs");
    }
    let pair = Pair::build()?;
    let [starved, asleep] = [PORT, OTHER_PORT].map(|port| Pair::server_at(Family::V4, port));
    let one = InTurn::start(&pair.server, starved, Work::Compute)?;
    one.work_for(WORK);
    one.be_nice()?;
    let other = Server::start(&pair.server, asleep, Behaviour::Converse)?;
    other.work_for(NAP);
    let agent = Agent::watch(&pair.server)?;
    let talk = load::conversation(&pair.client, starved, CLIENTS, REQUESTS, PAUSE)?;
    let chat = load::conversation(&pair.client, asleep, CLIENTS, CHAT, PAUSE)?;
    agent.wait_for_window(SystemTime::now(), 10)?;

    let busy = cpu::Busy::start()?;
    other.work_for(LONG_NAP);
    let is_told = |line: &Line| {
        let others = rows(line.verdict(), "other_roots").filter_map(|row| row["cause"].as_str());
        let mut roots: Vec<_> = others.chain(line.cause()).collect();
        roots.sort_unstable();
        let open = line.value()["open_findings"].as_array();
        // The third finding is a symptom.
        roots == ["application_slow", "cpu_starved"] && open.is_some_and(|open| open.len() == 3)
    };
    let what = "one to be slow for want of a CPU, and the other by itself";
    agent.wait_for(what, Duration::from_secs(12), is_told)?;

    other.work_for(NAP);
    drop(busy);
    talk.join()?;
    chat.join()?;
    agent.stop().map(drop)
}
