//! The router's end of the client's link goes down and up, again and again.
//!
//! First evidence: the fourth change of the client's carrier.

use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::stream::{self, Line, growth, rows};
use osi_tests::topology::Routed;
use osi_tests::{link, skip};

const EXPECTED: Expected = Expected {
    cause: "link_degraded",
    layer: "L1",
    within: HARD,
    // The first loss is just that.
    beside: &["link_down"],
};

const TIMES: u64 = 3;
/// Apart far enough for windows to see it down and up.
const PAUSE: Duration = Duration::from_millis(700);
/// The link must be quiet for 15 s before it flaps no more; the rest is what every finding takes to close.
const QUIET: Duration = Duration::from_secs(16);

#[test]
fn link_degraded() -> Result<()> {
    let Some(_turn) = skip::ready("l1_physical::link_degraded::link_degraded", &[])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let agent = Agent::watch(&lab.client)?;
    let before = link::carrier_changes(&lab.client, "eth0")?;

    let fault = SystemTime::now();
    let mut evidence = fault;
    for round in 1..=TIMES {
        link::set_up(&lab.router, Routed::WEST, false)?;
        thread::sleep(PAUSE);
        link::set_up(&lab.router, Routed::WEST, true)?;
        if round == 2 {
            evidence = SystemTime::now();
        }
        thread::sleep(PAUSE);
    }
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let interface = &map.verdict()["scope"]["iface"]["name"];
    agent.ensure(interface == "eth0", || {
        format!("the flapping link is eth0, not {interface}")
    })?;

    let truth = link::carrier_changes(&lab.client, "eth0")? - before;
    agent.ensure(truth == 2 * TIMES, || {
        format!("the carrier changed {truth} times")
    })?;
    let later = agent.wait_for_window(SystemTime::now(), 2)?;
    let said = changes(&later);
    agent.compare(said == Some(truth), || {
        format!("the carrier changed {truth} times and the verdict says {said:?}")
    })?;

    thread::sleep(QUIET);
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let counted = growth(&lines, "L1", "carrier_changes");
    stream::ensure(&lines, counted == truth, || {
        format!("the carrier changed {truth} times and the agent counts {counted}")
    })
}

/// How often the carrier came or went, as the verdict's evidence has it.
fn changes(map: &Line) -> Option<u64> {
    let mut evidence = rows(map.verdict(), "evidence");
    let row = evidence.find(|row| row["signal"] == "carrier_changes")?;
    row["value"].as_f64().map(|value| value as u64)
}
