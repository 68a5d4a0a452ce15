//! A link behind the router takes less than both ends believe, and a filter keeps the router from saying so.
//!
//! First evidence: the second time-out of a connection. Where a small segment follows the full ones, it arrives and is
//! acknowledged.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, load, wait};

const EXPECTED: Expected = Expected {
    cause: "mtu_black_hole",
    layer: "L3",
    within: STATISTICAL,
    beside: &[],
};

const CONNECTIONS: usize = 4;
/// Two full segments, of IPv4 with timestamps.
const FULL: usize = 2 * 1448;
/// A small one beside them.
const SMALL: usize = 1000;
/// The smallest that IPv6 allows.
const MTU: &str = "1280";

#[test]
fn mtu_black_hole() -> Result<()> {
    let test = "l3_network::mtu_black_hole::mtu_black_hole";
    scenario(test, Family::V4, false)
}

#[test]
fn small_segments_pass_v6() -> Result<()> {
    let test = "l3_network::mtu_black_hole::small_segments_pass_v6";
    scenario(test, Family::V6, true)
}

fn scenario(test: &str, family: Family, small_ones_pass: bool) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nft"), Need::Program("nstat")])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(family, 7);
    let server = Server::start(&lab.server, target, Behaviour::Sink)?;
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    let mtu = |size| lab.router.ip(&["link", "set", Routed::EAST, "mtu", size]);
    mtu(MTU)?;
    let too_big = family.pick("icmp type 3", "icmpv6 type 2");
    let silence = DropRule::add(&lab.router, "output", too_big)?;
    let bytes = if small_ones_pass { FULL + SMALL } else { FULL };
    let streams = load::push(&lab.client, target, CONNECTIONS, bytes)?;
    let timeouts = || counters::snmp(&lab.client, "TcpExtTCPTimeouts");
    let first = CONNECTIONS as u64;
    let evidence = wait::until_above("time-outs", first, Duration::from_secs(5), timeouts)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let verdict = map.verdict();
    let server_address = target.ip().to_string();
    agent.ensure(verdict["scope"]["remote"] == server_address, || {
        format!("{server_address} is not reached, not {}", verdict["scope"])
    })?;
    let (sure, bad) = if small_ones_pass {
        ("likely", "critical")
    } else {
        ("possible", "warn")
    };
    let said = (&verdict["confidence"], &verdict["state"]);
    agent.ensure(said.0 == sure && said.1 == bad, || {
        format!("{CONNECTIONS} connections stall, which is {sure} and {bad}, not {said:?}")
    })?;
    let summary = verdict["summary"].as_str().unwrap_or_default();
    let proven = summary.contains("acknowledged smaller");
    agent.ensure(proven == small_ones_pass, || {
        format!("small ones pass: {small_ones_pass}, and the summary is {summary:?}")
    })?;

    // From here on time-outs may be those of other segments.
    let at_least = timeouts()? - first;
    ensure!(silence.remove()? > 0, "the router had nothing to say");
    mtu("1500")?;
    EXPECTED.resolves(&agent, &map)?;
    load::arrived(streams)?;
    drop(server);
    let again = counters::snmp(&lab.client, "TcpRetransSegs")?;
    let at_most = timeouts()? - first;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L3", "full_size_unacked");
    if small_ones_pass {
        // What is acknowledged out of order brings others to be sent again as well.
        return stream::ensure(&lines, (at_least..=again).contains(&said), || {
            format!(
                "{again} segments were sent again, {at_least} to {at_most} at a second time-out or later, and {said} counted"
            )
        });
    }
    stream::ensure(&lines, (at_least..=at_most).contains(&said), || {
        format!("{at_least} to {at_most} segments were sent again in vain, and {said} counted")
    })
}
