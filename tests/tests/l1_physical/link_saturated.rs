//! A stream wants more than the router's shaped link carries.
//!
//! First evidence: the shaper makes the first packet wait for tokens. That window is mostly idle, so its mean says nothing yet.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{Line, rows};
use osi_tests::tc::Shaper;
use osi_tests::topology::{Family, Routed};
use osi_tests::{link, load, scale, wait};

const EXPECTED: Expected = Expected {
    cause: "link_saturated",
    layer: "L1",
    within: STATISTICAL,
    beside: &["egress_queue_overflow"],
};

const RATE_BITS_PER_S: u64 = 50_000_000;
/// What the shaper lets wait.
const QUEUE_BYTES: u32 = 300_000;

#[test]
fn link_saturated() -> Result<()> {
    let Some(_turn) = skip::ready_to_time(
        "l1_physical::link_saturated::link_saturated",
        &[Need::Program("tc")],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, 7);
    let server = Server::start(&lab.server, target, Behaviour::Sink)?;
    let shaper = Shaper::cap(
        &lab.router,
        Routed::EAST,
        RATE_BITS_PER_S,
        "64kb",
        &QUEUE_BYTES.to_string(),
    )?;
    let agent = Agent::watch(&lab.router)?;

    let fault = SystemTime::now();
    let stream = load::bulk(&lab.client, target, Duration::from_secs(12), None)?;
    let evidence = wait::until_above("packets that waited", 0, Duration::from_secs(5), || {
        Ok(shaper.counts()?.overlimits)
    })?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let interface = &map.verdict()["scope"]["iface"]["name"];
    agent.ensure(interface == Routed::EAST, || {
        format!("the full link is east, not {interface}")
    })?;

    // A full queue of 300 kB at this rate.
    let full = f64::from(QUEUE_BYTES) * 8e9 / scale::rate(RATE_BITS_PER_S) as f64;
    let delays = map.meters("L2", "queue_delay");
    let delay = delays
        .filter(|row| row["scope"]["iface"]["name"] == Routed::EAST)
        .find_map(|row| row["used"].as_f64());
    agent.compare(
        delay.is_some_and(|delay| delay > 0.0 && delay < full * 1.1),
        || format!("a full queue takes {full} ns, and bytes are said to wait {delay:?} ns"),
    )?;

    stream.join()?;
    let (truth, said) = (shaper.counts()?.bytes, carried(&agent, Routed::EAST)?);
    agent.compare((said / truth as f64 - 1.0).abs() < 0.05, || {
        format!("by tc the shaper let {truth} bytes through and the agent says {said:.0}")
    })?;

    shaper.remove()?;
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}

/// What went through an interface in bytes, as all windows together say: a slow machine's windows are no tool's seconds.
fn carried(agent: &Agent, interface: &str) -> Result<f64> {
    agent.wait_for_window(SystemTime::now(), 1)?;
    let maps = agent.lines();
    let maps = maps.iter().filter(|line| line.is_fault_map());
    let seconds = |map: &Line| map.value()["window_ns"].as_f64().map(|ns| ns / 1e9);
    maps.map(|map| {
        let bits = throughput(map, interface).context("a window has no throughput")?;
        let seconds = seconds(map).context("a window has no length")?;
        Ok(bits * seconds / 8.0)
    })
    .sum()
}

/// What the agent says goes through an interface, in bit/s, if it knows the capacity of the link.
fn throughput(map: &Line, interface: &str) -> Option<f64> {
    rows(map.layer("L1"), "meters")
        .filter(|row| row["unit"] == "bits_per_s" && row["kind"] == "capacity")
        .filter(|row| row["scope"]["iface"]["name"] == interface)
        .filter(|row| row["capacity"].as_f64() == Some(scale::rate(RATE_BITS_PER_S) as f64))
        .filter_map(|row| row["used"].as_f64())
        .max_by(f64::total_cmp)
}

/// What caps the link is elsewhere, as a provider's limit is: only the user knows of it.
#[test]
fn the_user_knows_the_speed() -> Result<()> {
    let test = "l1_physical::link_saturated::the_user_knows_the_speed";
    let Some(_turn) = skip::ready_to_time(test, &[Need::Program("tc")])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, 7);
    let server = Server::start(&lab.server, target, Behaviour::Sink)?;
    let queue = QUEUE_BYTES.to_string();
    let cap = Shaper::cap(&lab.client, "eth0", RATE_BITS_PER_S, "64kb", &queue)?;
    let speed = format!("{}={}bit", Routed::WEST, scale::rate(RATE_BITS_PER_S));
    let agent = Agent::watch_with(&lab.router, &["--link-speed", &speed])?;
    let received = || link::received_bytes(&lab.router, Routed::WEST);
    let before = received()?;

    let fault = SystemTime::now();
    let stream = load::bulk(&lab.client, target, Duration::from_secs(12), None)?;
    let evidence = wait::until_above("packets that waited", 0, Duration::from_secs(5), || {
        Ok(cap.counts()?.overlimits)
    })?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let interface = &map.verdict()["scope"]["iface"]["name"];
    agent.ensure(interface == Routed::WEST, || {
        format!("the full link is west, not {interface}")
    })?;
    stream.join()?;
    let (truth, said) = (received()? - before, carried(&agent, Routed::WEST)?);
    agent.compare((said / truth as f64 - 1.0).abs() < 0.05, || {
        format!("by ip {truth} bytes came in and the agent says {said:.0}")
    })?;
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}
