//! The router's end of the client's link goes down.
//!
//! First evidence: the client's carrier is gone when `ip link set … down` on the other end returns.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Routed};
use osi_tests::{link, load, skip};

const EXPECTED: Expected = Expected {
    cause: "link_down",
    layer: "L1",
    within: HARD,
    beside: &[],
};

#[test]
fn link_down() -> Result<()> {
    let Some(_turn) = skip::ready("l1_physical::link_down::link_down", &[])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let agent = Agent::watch(&lab.client)?;
    let before = link::carrier_changes(&lab.client, "eth0")?;

    let fault = SystemTime::now();
    link::set_up(&lab.router, Routed::WEST, false)?;
    let evidence = SystemTime::now();
    let map = EXPECTED.named(&agent, fault, evidence)?;

    let interface = &map.verdict()["scope"]["iface"]["name"];
    agent.ensure(interface == "eth0", || {
        format!("the broken link is eth0, not {interface}")
    })?;
    agent.wait_for(
        "the event link_changed of eth0",
        Duration::from_secs(2),
        |line| line.value()["kind"] == "link_changed" && line.value()["iface"]["name"] == "eth0",
    )?;

    // What fails because of it is a symptom: the verdict stays.
    let router = Routed::router_at(Family::V4, 7);
    let report =
        load::connect_all_at_once(&lab.client, router, 2, Duration::from_secs(5))?.join()?;
    agent.ensure(report.connected == 0, || {
        "a connect went through a link that is down".to_owned()
    })?;
    let later = agent.wait_for_window(SystemTime::now(), 2)?;
    agent.ensure(later.cause() == Some(EXPECTED.cause), || {
        format!("the verdict changed to {:?}", later.cause())
    })?;

    link::set_up(&lab.router, Routed::WEST, true)?;
    EXPECTED.resolves(&agent, &map)?;
    let truth = link::carrier_changes(&lab.client, "eth0")? - before;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L1", "carrier_changes");
    stream::ensure(&lines, truth == 2 && said == truth, || {
        format!("by ip the carrier changed {truth} times and the agent counts {said}")
    })
}
