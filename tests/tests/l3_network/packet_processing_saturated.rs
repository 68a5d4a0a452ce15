//! A router with a long list of rules gets small packets faster than the one CPU that it has for them.
//!
//! First evidence: the first time that a CPU's budget for packets ran out with work left.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Datagrams};
use osi_tests::machine::Setting;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Routed};
use osi_tests::{command, cpu, scale, wait};

const EXPECTED: Expected = Expected {
    cause: "packet_processing_saturated",
    layer: "L3",
    within: STATISTICAL,
    // The backlog is full before a whole window was busy. And the router's neighbours are watched as well: one that is so busy
    // may not answer them in time, which outlives the fault.
    beside: &["rx_backlog_overflow", "neighbor_unreachable"],
};

/// On an emulated machine each takes a hundredth of a second.
const PACKETS: u64 = 30_000;
const PACKETS_EMULATED: u64 = 6_000;
/// After so many packets the CPU looks whether its time is up. The usual 64 last longer than a window where an emulated machine has
/// others beside it.
const WEIGHT: &str = "8";
/// Rules of a chain, and how often each packet goes through it.
const RULES: u32 = 1000;
const ROUNDS: usize = 32;

#[test]
fn packet_processing_saturated() -> Result<()> {
    // The first CPU is the router's alone: a thread beside it would take a share of its time.
    cpu::scenario_on(1, scenario)
}

fn scenario() -> Result<()> {
    let Some(_turn) = skip::ready_alone(
        "l3_network::packet_processing_saturated::packet_processing_saturated",
        &[
            Need::OwnMachine("a CPU"),
            Need::Program("unshare"),
            Need::Program("nft"),
        ],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    cpu::receive_on_first(&lab.router, Routed::WEST)?;
    add_rules(&lab)?;
    let _weight = Setting::change("net/core/dev_weight", WEIGHT)?;
    let squeezed = || cpu::softnet(2);
    let agent = Agent::watch_all()?;

    let before = squeezed()?;
    let fault = SystemTime::now();
    let plan = Datagrams {
        target: Routed::server_at(Family::V4, 9),
        count: if scale::is_slow() {
            PACKETS_EMULATED
        } else {
            PACKETS
        },
        size: 18,
        // Few packets that cost much: whoever sends them shares the other CPU with the agent.
        burst: 15,
        every: Duration::from_millis(5),
    };
    let datagrams = load::datagrams(&lab.client, plan)?;
    let evidence = wait::until_above("squeezes", before + 2, Duration::from_secs(5), squeezed)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let summary = map.verdict()["summary"].as_str().unwrap_or_default();
    agent.ensure(summary.starts_with("CPU 0"), || {
        format!("the first CPU routes, and the summary is {summary:?}")
    })?;

    datagrams.join()?;
    let at_least = squeezed()? - before;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L1", "softnet_squeezed");
    stream::ensure(&lines, said >= at_least, || {
        format!("the CPUs were squeezed {at_least} times and the agent says {said}")
    })
}

/// Rules that every packet is held against and none matches.
fn add_rules(lab: &Routed) -> Result<()> {
    let mut rules = "table ip lab {\n chain long {\n".to_owned();
    for number in 0..RULES {
        writeln!(rules, "udp dport {} drop", 20_000 + number)?;
    }
    rules.push_str(" }\n chain again {\n type filter hook forward priority 0;\n");
    rules.push_str(&"jump long\n".repeat(ROUNDS));
    rules.push_str(" }\n}\n");
    let mut nft = lab.router.command("nft")?;
    command::output_with_input(nft.args(["-f", "-"]), &rules).map(drop)
}
