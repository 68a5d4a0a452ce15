//! The way through a router takes longer with a long chain of rules: one packet in 64 is timed, and tells.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Datagrams};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, sum};
use osi_tests::topology::{Family, Routed};
use osi_tests::{command, counters, expect};

const DATAGRAMS: u64 = 6400;
/// Of so many packets that a CPU receives, one is timed.
const ONE_IN: u64 = 64;
const RULES: u32 = 2000;
const SIGNAL: &str = "forwarding";

#[test]
fn the_way_through_a_router() -> Result<()> {
    let test = "l3_network::forwarding::the_way_through_a_router";
    let Some(_turn) = skip::ready_to_time(test, &[Need::Program("nft")])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let short = measured(&lab)?;
    let mut rules =
        "table ip lab {\n chain forward {\n type filter hook forward priority 0;\n".to_owned();
    for number in 0..RULES {
        writeln!(rules, "udp dport {} drop", 20_000 + number)?;
    }
    rules.push_str(" }\n}\n");
    command::output_with_input(lab.router.command("nft")?.args(["-f", "-"]), &rules)?;
    let long = measured(&lab)?;
    anyhow::ensure!(
        long > 2 * short,
        "a median of {short} ns without rules, and of {long} ns with {RULES}"
    );
    Ok(())
}

/// The median of a stream of datagrams through the router.
fn measured(lab: &Routed) -> Result<u64> {
    let agent = Agent::watch(&lab.router)?;
    let before = counters::snmp(&lab.router, "IpForwDatagrams")?;
    let plan = Datagrams {
        target: Routed::server_at(Family::V4, 9),
        count: DATAGRAMS,
        size: 100,
        burst: 16,
        every: Duration::from_millis(5),
    };
    load::datagrams(&lab.client, plan)?.join()?;
    let ended = SystemTime::now();
    agent.wait_for_window(ended, 2)?;
    let forwarded = counters::snmp(&lab.router, "IpForwDatagrams")? - before;
    let lines = expect::calm(agent)?;
    let count = sum(&lines, |map| {
        map.latency("L3", SIGNAL, "count").unwrap_or(0)
    });
    // Packets for the router itself are counted, too, and each CPU counts its own.
    let expected = forwarded / ONE_IN;
    stream::ensure(
        &lines,
        (expected * 9 / 10..=expected + expected / 10 + 8).contains(&count),
        || format!("{forwarded} packets were forwarded and {count} timed"),
    )?;
    let median = |map: &Line| map.latency("L3", SIGNAL, "p50_ns");
    let mut medians: Vec<_> = lines
        .iter()
        .filter_map(median)
        .filter(|ns| *ns > 0)
        .collect();
    medians.sort_unstable();
    medians
        .get(medians.len() / 2)
        .copied()
        .context("no window has a median")
}
