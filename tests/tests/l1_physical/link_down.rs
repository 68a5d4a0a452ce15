//! The router's end of the client's link goes down.
//!
//! First evidence: the client's carrier is gone when `ip link set … down` on the other end returns.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::topology::Routed;
use osi_tests::{link, skip};

const EXPECTED: Expected = Expected {
    cause: "link_down",
    layer: "L1",
    within: HARD,
    beside: &[],
};

#[test]
fn link_down() -> Result<()> {
    if !skip::ready("l1_physical::link_down", &[])? {
        return Ok(());
    }
    let lab = Routed::build()?;
    let agent = Agent::watch(&lab.client)?;

    link::set_up(&lab.router, Routed::WEST, false)?;
    let evidence = SystemTime::now();
    let map = EXPECTED.named(&agent, evidence)?;

    let interface = &map.verdict()["scope"]["iface"]["name"];
    agent.ensure(interface == "eth0", || {
        format!("the broken link is eth0, not {interface}")
    })?;
    agent.wait_for(
        "the event link_changed of eth0",
        Duration::from_secs(2),
        |line| line.value()["kind"] == "link_changed" && line.value()["iface"]["name"] == "eth0",
    )?;

    link::set_up(&lab.router, Routed::WEST, true)?;
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}
