//! The receive backlog of the first CPU holds one packet, and datagrams come in bursts from another one.
//!
//! First evidence: the first drop in the CPUs' lines of `/proc/net/softnet_stat`.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Datagrams};
use osi_tests::machine::Setting;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{cpu, wait};

const EXPECTED: Expected = Expected {
    cause: "rx_backlog_overflow",
    layer: "L1",
    within: STATISTICAL,
    beside: &[],
};

const SETTING: &str = "net/core/netdev_max_backlog";

#[test]
fn rx_backlog_overflow() -> Result<()> {
    let Some(_turn) = skip::ready_alone(
        "l1_physical::rx_backlog_overflow::rx_backlog_overflow",
        &[
            Need::OwnMachine("net.core.netdev_max_backlog"),
            Need::Program("unshare"),
        ],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    cpu::receive_on_first(&pair.server, "eth0")?;
    let before = dropped()?;
    // A namespace watched alone is concerned only where the kernel says whose packets they were.
    let agent = Agent::watch_all()?;

    let fault = SystemTime::now();
    let short = Setting::change(SETTING, "1")?;
    let plan = Datagrams {
        target: Pair::server_at(Family::V4, 9),
        count: 6000,
        size: 100,
        burst: 100,
        every: Duration::from_millis(100),
    };
    let datagrams = std::thread::scope(|scope| {
        let sender = scope.spawn(|| cpu::on(1, || load::datagrams(&pair.client, plan)));
        sender.join().ok().context("the sender panicked")?
    })?;
    let lost = || Ok(dropped()? - before);
    let evidence = wait::until_above("drops", 0, Duration::from_secs(5), lost)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    datagrams.join()?;
    short.restore()?;
    let truth = lost()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L1", "softnet_dropped");
    stream::ensure(&lines, said == truth, || {
        format!("the CPUs dropped {truth} packets and the agent says {said}")
    })?;
    Ok(())
}

fn dropped() -> Result<u64> {
    cpu::softnet(1)
}
