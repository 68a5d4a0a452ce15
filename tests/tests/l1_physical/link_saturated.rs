//! A stream wants more than the router's shaped link carries.
//!
//! First evidence: the shaper makes the first packet wait for tokens. That window is mostly idle, so its mean says nothing yet.

use std::time::{Duration, Instant, SystemTime};

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
/// Windows over which the agent's figure is held against the shaper's.
const COMPARED: usize = 3;

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

    let (truth, said) = measured(&agent, Routed::EAST, || Ok(shaper.counts()?.bytes))?;
    agent.compare((said / truth - 1.0).abs() < 0.05, || {
        format!("by tc the shaper let {truth:.0} bit/s through and the agent says {said:.0}")
    })?;

    stream.join()?;
    shaper.remove()?;
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}

/// What goes through an interface in `COMPARED` windows, in bit/s: by a tool's count of bytes, and as the agent says.
fn measured(agent: &Agent, interface: &str, bytes: impl Fn() -> Result<u64>) -> Result<(f64, f64)> {
    let (before, began, since) = (bytes()?, Instant::now(), SystemTime::now());
    agent.wait_for_window(since, COMPARED)?;
    let truth = (bytes()? - before) as f64 * 8.0 / began.elapsed().as_secs_f64();
    let maps = agent.fault_maps_after(since)?;
    let said = maps
        .iter()
        .take(COMPARED)
        .map(|map| throughput(map, interface))
        .sum::<Option<f64>>()
        .context("there is no throughput of the interface")?;
    Ok((truth, said / COMPARED as f64))
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
    let received = || link::received_bytes(&lab.router, Routed::WEST);
    let (truth, said) = measured(&agent, Routed::WEST, received)?;
    agent.compare((said / truth - 1.0).abs() < 0.05, || {
        format!("by ip {truth:.0} bit/s come in and the agent says {said:.0}")
    })?;
    stream.join()?;
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}
