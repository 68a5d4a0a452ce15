//! Datagrams smaller than the MTU meet a drop rule: each is one packet in the map, and events account for every one.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Datagrams};
use osi_tests::nft::DropRule;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, sum};
use osi_tests::topology::{Family, Pair};

const DATAGRAMS: u64 = 5000;

#[test]
fn every_dropped_datagram_is_counted_once() -> Result<()> {
    scenario(
        "l3_network::exact_drops::every_dropped_datagram_is_counted_once",
        Family::V4,
    )
}

#[test]
fn every_dropped_datagram_is_counted_once_v6() -> Result<()> {
    scenario(
        "l3_network::exact_drops::every_dropped_datagram_is_counted_once_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nft")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.server)?;
    let rule = DropRule::add(&pair.server, "input", "udp dport 9")?;
    let target = Pair::server_at(family, 9);
    let plan = Datagrams {
        target,
        count: DATAGRAMS,
        size: 500,
        burst: 50,
        every: Duration::from_millis(10),
    };
    load::datagrams(&pair.client, plan)?.join()?;
    let dropped = rule.remove()?;
    ensure!(
        dropped == DATAGRAMS,
        "{DATAGRAMS} datagrams were sent and {dropped} met the rule"
    );

    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let packets = sum(&lines, |map| map.dropped("L3", "NETFILTER_DROP"));
    stream::ensure_counted(&lines, "dropped datagrams", DATAGRAMS, packets)?;
    let told = event_count(&lines, "drop", |event| event["reason"] == "NETFILTER_DROP");
    let lost = lines.last().and_then(Line::lost_events).unwrap_or(0);
    stream::ensure(&lines, told + lost == packets, || {
        format!(
            "the events account for {told} drops, {lost} were lost, and the maps count {packets}"
        )
    })?;
    Ok(())
}
