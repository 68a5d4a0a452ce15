//! Datagrams and segments whose checksum is wrong.
//!
//! First evidence: the first `UdpInCsumErrors`.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::frame::{self, IPV4};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::Pair;
use osi_tests::{counters, wait};

const EXPECTED: Expected = Expected {
    cause: "checksum_errors",
    layer: "L4",
    within: STATISTICAL,
    beside: &[],
};

const PACKETS: u64 = 1200;
/// Length of the IPv4 header.
const IP: usize = 20;

#[test]
fn checksum_errors() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l4_transport::checksum_errors::checksum_errors",
        &[Need::Program("nstat")],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.server)?;
    let (from, to) = ((&pair.client, "eth0"), (&pair.server, "eth0"));
    let frames = [
        frame::ethernet(from, to, IPV4, &datagram())?,
        frame::ethernet(from, to, IPV4, &segment())?,
    ];

    let fault = SystemTime::now();
    let packets = frame::send(&pair.client, "eth0", PACKETS, move |number| {
        frames[number as usize % 2].clone()
    })?;
    let count = |name| counters::snmp(&pair.server, name);
    let damaged = || count("UdpInCsumErrors");
    let evidence = wait::until_above("bad checksums", 0, Duration::from_secs(5), damaged)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    // Kernels without these reasons tell the namespace only.
    let with_reason = map.dropped("L4", "UDP_CSUM") > 0;
    agent.ensure(!with_reason || scope["iface"]["name"] == "eth0", || {
        format!("the packets came in on eth0, not {scope}")
    })?;

    packets.join()?;
    let (udp, tcp) = (damaged()?, count("TcpInCsumErrors")?);
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L4", "bad_checksums");
    let equal = [udp, tcp] == [PACKETS / 2; 2] && said == udp + tcp;
    stream::ensure(&lines, equal, || {
        format!(
            "{PACKETS} packets were sent, nstat counts {udp} datagrams and {tcp} segments, the agent {said} in all"
        )
    })
}

/// To a port that nobody has, so that the sum is looked at when it arrives. The right sum of this one is another.
fn datagram() -> Vec<u8> {
    let mut packet = frame::ipv4(Pair::CLIENT, Pair::SERVER, false);
    packet[IP..IP + 8].copy_from_slice(&[0x9c, 0x40, 0, 9, 0, 64, 0, 1]);
    packet
}

/// A SYN (RFC 9293) to a port that nobody has.
fn segment() -> Vec<u8> {
    let mut packet = frame::ipv4(Pair::CLIENT, Pair::SERVER, false);
    packet[9] = 6;
    packet[IP..IP + 4].copy_from_slice(&[0x9c, 0x40, 0, 9]);
    packet[IP + 12..IP + 14].copy_from_slice(&[0x50, 2]);
    packet[IP + 16..IP + 18].copy_from_slice(&[0, 1]);
    frame::identify(&mut packet, 1);
    packet
}
