//! Bursts of datagrams meet a slow link that is mostly idle.
//!
//! A burst of 100 kB every 100 ms fills a sixth of the 50 Mbit/s, and the queue holds 20 kB.
//! First evidence: the shaper's first drop.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Datagrams};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, counted};
use osi_tests::tc::Shaper;
use osi_tests::topology::{Family, Routed};
use osi_tests::wait;

const EXPECTED: Expected = Expected {
    cause: "link_microburst",
    layer: "L1",
    within: STATISTICAL,
    beside: &["egress_queue_overflow"],
};

#[test]
fn link_microburst() -> Result<()> {
    let Some(_turn) = skip::ready_to_time(
        "l1_physical::link_microburst::link_microburst",
        &[Need::Program("tc")],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let shaper = Shaper::cap(&lab.router, Routed::EAST, 50_000_000, "16kb", "20kb")?;
    let agent = Agent::watch(&lab.router)?;

    let fault = SystemTime::now();
    let target = Routed::server_at(Family::V4, 9);
    let plan = Datagrams {
        target,
        count: 6000,
        size: 1000,
        burst: 100,
        every: Duration::from_millis(100),
    };
    let bursts = load::datagrams(&lab.client, plan)?;
    let evidence = wait::until_above("dropped packets", 0, Duration::from_secs(5), || {
        Ok(shaper.counts()?.drops)
    })?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let interface = &map.verdict()["scope"]["iface"]["name"];
    agent.ensure(interface == Routed::EAST, || {
        format!("the slow link is east, not {interface}")
    })?;

    bursts.join()?;
    let dropped = shaper.counts()?.drops;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = counted(&lines, "qdisc_drops", Routed::EAST);
    stream::ensure(&lines, said == dropped, || {
        format!("the queue dropped {dropped} packets and the agent says {said}")
    })
}
