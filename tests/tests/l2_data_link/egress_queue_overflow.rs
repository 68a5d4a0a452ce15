//! Bursts of datagrams meet the short queue of a class on a link that could carry them.
//!
//! A burst of 100 kB every 100 ms is nothing to the 10 Gbit/s of the root and a sixth of the class's 50 Mbit/s, whose queue
//! holds 20 packets.
//! First evidence: the shaper's first drop.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Datagrams};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, counted, sum};
use osi_tests::tc::Shaper;
use osi_tests::topology::{Family, Routed};
use osi_tests::{kernel, wait};

const EXPECTED: Expected = Expected {
    cause: "egress_queue_overflow",
    layer: "L2",
    within: STATISTICAL,
    beside: &[],
};

#[test]
fn egress_queue_overflow() -> Result<()> {
    let Some(_turn) = skip::ready_to_time(
        "l2_data_link::egress_queue_overflow::egress_queue_overflow",
        &[Need::Program("tc")],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let shaper = Shaper::class(&lab.router, Routed::EAST, 50_000_000, 20)?;
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
        format!("the short queue is on east, not on {interface}")
    })?;

    bursts.join()?;
    let dropped = shaper.counts()?.drops;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = counted(&lines, "qdisc_drops", Routed::EAST);
    stream::ensure(&lines, said == dropped, || {
        format!("the queue dropped {dropped} packets and the agent says {said}")
    })?;
    if kernel::is_at_least(5, 17)? {
        let by_reason = sum(&lines, |map| map.dropped("L2", "QDISC_DROP"));
        stream::ensure_counted(&lines, "drops of the queue", dropped, by_reason)?;
    }
    Ok(())
}
