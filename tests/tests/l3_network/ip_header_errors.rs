//! Packets with a wrong checksum of the IP header.
//!
//! First evidence: the first `IpInHdrErrors`.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::frame::{self, IPV4};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::Pair;
use osi_tests::{counters, kernel, wait};

const EXPECTED: Expected = Expected {
    cause: "ip_header_errors",
    layer: "L3",
    within: STATISTICAL,
    beside: &[],
};

const PACKETS: u64 = 1200;

#[test]
fn ip_header_errors() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l3_network::ip_header_errors::ip_header_errors",
        &[Need::Program("nstat")],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.server)?;
    let mut packet = frame::ipv4(Pair::CLIENT, Pair::SERVER, false);
    packet[10] ^= 1;
    let (from, to) = ((&pair.client, "eth0"), (&pair.server, "eth0"));
    let frame = frame::ethernet(from, to, IPV4, &packet)?;

    let fault = SystemTime::now();
    let packets = frame::send(&pair.client, "eth0", PACKETS, move |_| frame.clone())?;
    let errors = || counters::snmp(&pair.server, "IpInHdrErrors");
    let evidence = wait::until_above("header errors", 0, Duration::from_secs(5), errors)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    // Kernels without this reason tell the namespace only.
    let with_reason = map.dropped("L3", "IP_CSUM") > 0;
    agent.ensure(!with_reason || scope["iface"]["name"] == "eth0", || {
        format!("the packets came in on eth0, not {scope}")
    })?;

    packets.join()?;
    let truth = errors()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L3", "ip_malformed");
    stream::ensure(&lines, truth == PACKETS && said == truth, || {
        format!("{PACKETS} packets were sent, nstat counts {truth} and the agent {said}")
    })?;
    if kernel::is_at_least(5, 18)? {
        let by_reason = stream::sum(&lines, |map| map.dropped("L3", "IP_CSUM"));
        stream::ensure_counted(&lines, "packets with a wrong checksum", truth, by_reason)?;
    }
    Ok(())
}
