//! Two routers send packets for a network to each other.
//!
//! First evidence: the first packet whose hops ran out, and at the sender the fourth message that says so, as whoever traces a
//! route gets three. With 64 hops, every packet ends at the second router.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::{self, Datagrams};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::Routed;
use osi_tests::{counters, wait};

const EXPECTED: Expected = Expected {
    cause: "routing_loop",
    layer: "L3",
    within: HARD,
    beside: &[],
};

const DATAGRAMS: u64 = 200;
const PLAN: Datagrams = Datagrams {
    target: SocketAddr::new(LOST, 9),
    count: DATAGRAMS,
    size: 100,
    burst: 5,
    every: Duration::from_millis(100),
};
/// In a network that the first router looks for behind the second, and the second behind its default route: the first.
const LOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 9));

#[test]
fn routing_loop() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l3_network::routing_loop::routing_loop",
        &[Need::Program("nstat")],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let agent = Agent::watch(&lab.server)?;

    let fault = SystemTime::now();
    turn_back(&lab)?;
    let datagrams = load::datagrams(&lab.client, PLAN)?;
    let ended = || counters::snmp(&lab.server, "IpInHdrErrors");
    let evidence = wait::until_above("packets without hops", 0, Duration::from_secs(5), ended)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let verdict = map.verdict();
    agent.ensure(verdict["scope"]["remote"] == LOST.to_string(), || {
        format!("packets to {LOST} go round, not to {}", verdict["scope"])
    })?;
    let summary = verdict["summary"].as_str().unwrap_or_default();
    agent.ensure(summary.contains("with 10.2.0.1"), || {
        format!("the other router is 10.2.0.1, and the summary is {summary:?}")
    })?;

    datagrams.join()?;
    let all = DATAGRAMS - 1;
    wait::until_above("packets without hops", all, Duration::from_secs(5), ended)?;
    let truth = ended()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L3", "hops_exhausted");
    stream::ensure(&lines, truth == DATAGRAMS, || {
        format!("{DATAGRAMS} datagrams went round and nstat counts {truth}")
    })?;
    stream::ensure_counted(&lines, "packets without hops", truth, said)
}

/// The second router says so: on most kernels to the first few packets, and then to one a second.
#[test]
fn routing_loop_as_its_sender_sees_it() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l3_network::routing_loop::routing_loop_as_its_sender_sees_it",
        &[Need::Program("nstat")],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    turn_back(&lab)?;
    let datagrams = load::datagrams(&lab.client, PLAN)?;
    let told = || counters::snmp(&lab.client, "IcmpInTimeExcds");
    let evidence = wait::until_above("messages", 3, Duration::from_secs(10), told)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let verdict = map.verdict();
    agent.ensure(verdict["scope"]["remote"] == LOST.to_string(), || {
        format!("packets to {LOST} go round, not to {}", verdict["scope"])
    })?;
    let summary = verdict["summary"].as_str().unwrap_or_default();
    agent.ensure(summary.contains("messages of 10.2.0.2"), || {
        format!("10.2.0.2 says so, and the summary is {summary:?}")
    })?;

    datagrams.join()?;
    EXPECTED.resolves(&agent, &map)?;
    let truth = told()?;
    let lines = EXPECTED.stop(agent)?;
    let events = event_count(&lines, "icmp_error_received", |event| {
        event["reason"] == "time_to_live_exceeded_in_transit"
    });
    let said = growth(&lines, "L3", "icmp_hops_exhausted");
    stream::ensure(&lines, [events, said] == [truth; 2], || {
        format!("nstat counts {truth} messages, the events {events} and the signal {said}")
    })
}

fn turn_back(lab: &Routed) -> Result<()> {
    lab.server.set_sysctl("net/ipv4/ip_forward", "1")?;
    lab.router
        .ip(&["route", "add", "10.50.0.0/24", "via", "10.2.0.2"])
        .map(drop)
}
