//! The server's way back to the client leads elsewhere, and it checks.
//!
//! First evidence: the first `IPReversePathFilter`.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::{self, Datagrams};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, wait};

const EXPECTED: Expected = Expected {
    cause: "reverse_path_filtered",
    layer: "L3",
    within: HARD,
    beside: &[],
};

const DATAGRAMS: u64 = 400;
/// The client's network, and an interface of the server that does not lead there.
const ELSEWHERE: [&str; 4] = ["route", "10.1.0.0/24", "dev", "lo"];

#[test]
fn reverse_path_filtered() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l3_network::reverse_path_filtered::reverse_path_filtered",
        &[Need::Program("nstat")],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    lab.server.set_sysctl("net/ipv4/conf/eth0/rp_filter", "1")?;
    let agent = Agent::watch(&lab.server)?;

    let fault = SystemTime::now();
    let [route, network, dev, other] = ELSEWHERE;
    lab.server.ip(&[route, "add", network, dev, other])?;
    let plan = Datagrams {
        target: Routed::server_at(Family::V4, 9),
        count: DATAGRAMS,
        size: 100,
        burst: 10,
        every: Duration::from_millis(100),
    };
    let datagrams = load::datagrams(&lab.client, plan)?;
    let filtered = || counters::snmp(&lab.server, "TcpExtIPReversePathFilter");
    let evidence = wait::until_above("filtered packets", 0, Duration::from_secs(5), filtered)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    // Kernels without this reason tell the namespace only.
    let with_reason = map.dropped("L3", "IP_RPFILTER") > 0;
    agent.ensure(!with_reason || scope["iface"]["name"] == "eth0", || {
        format!("the packets came in on eth0, not {scope}")
    })?;

    datagrams.join()?;
    wait::until_above(
        "filtered packets",
        DATAGRAMS - 1,
        Duration::from_secs(5),
        filtered,
    )?;
    lab.server.ip(&[route, "del", network, dev, other])?;
    let dropped = filtered()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L3", "reverse_path_filtered_packets");
    stream::ensure(&lines, dropped == DATAGRAMS && said == dropped, || {
        format!("{DATAGRAMS} datagrams were sent, nstat counts {dropped} and the agent {said}")
    })?;
    Ok(())
}
