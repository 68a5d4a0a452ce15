//! Connects to an address on the client's own subnet that nobody owns.
//!
//! First evidence: the neighbour entry becomes FAILED after three solicitations, about 3 s in, and the connects end with EHOSTUNREACH.
//! The agent may open the finding earlier, as *possible*.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::Datagrams;
use osi_tests::stream::{self, event_count, sum};
use osi_tests::topology::{Family, Routed};
use osi_tests::{load, scale, skip};

const EXPECTED: Expected = Expected {
    cause: "neighbor_unreachable",
    layer: "L2",
    within: HARD,
    beside: &[],
};

const CONNECTS: u64 = 4;
/// Sent first: they start the search for the neighbour half a second before the connects, so that TCP's timers never fall
/// together with the neighbour's. A SYN sent again while the neighbour is given up starts the search anew, and the kernel then
/// drops what still waited without an error.
const DATAGRAMS: u64 = 2;

#[test]
fn neighbor_unreachable() -> Result<()> {
    scenario(
        "l2_data_link::neighbor_unreachable::neighbor_unreachable",
        Family::V4,
    )
}

#[test]
fn neighbor_unreachable_v6() -> Result<()> {
    scenario(
        "l2_data_link::neighbor_unreachable::neighbor_unreachable_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    // Alone: the busier process 1 is, the more some kernels hide of what is dropped by a timer (`osi_tests::hidden`).
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::nobody_at(family, 7);
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    let plan = Datagrams {
        target,
        count: DATAGRAMS,
        size: 64,
        burst: 1,
        every: Duration::from_millis(500),
    };
    load::datagrams(&lab.client, plan)?.join()?;
    let report =
        load::connect_all_at_once(&lab.client, target, CONNECTS, Duration::from_secs(6))?.join()?;
    let unreachable = report.errors_of(libc::EHOSTUNREACH);
    agent.ensure(unreachable == CONNECTS, || {
        format!("the connects ended with {:?}", report.errors)
    })?;
    let evidence = report.first_error.context("no connect failed")?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    let remote = &map.verdict()["scope"]["remote"];
    agent.ensure(*remote == target.ip().to_string(), || {
        format!("{target} is unreachable, not {remote}")
    })?;
    let event = agent.wait_for(
        "the event neighbor_failed",
        Duration::from_secs(2),
        |line| line.value()["kind"] == "neighbor_failed",
    )?;
    agent.ensure(event.value()["layer"] == "L2", || {
        format!("neighbor_failed belongs to L2: {event}")
    })?;

    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    // IPv6 frees what waited for the neighbour without a reason, in the same function as IPv4.
    let said = sum(&lines, |map| map.layer("L2")["drops"].as_u64().unwrap_or(0));
    let waited = CONNECTS + DATAGRAMS;
    let told = event_count(&lines, "drop", |event| event["layer"] == "L2");
    // A slow machine is late, and then SYNs are sent again while the neighbour is sought; each of them waits, too.
    let all = told == waited || scale::is_slow() && told >= waited;
    stream::ensure(&lines, all && said == told, || {
        format!(
            "{waited} packets waited for the neighbour and were dropped, and the agent counts {said} drops on L2 and {told} in events"
        )
    })
}
