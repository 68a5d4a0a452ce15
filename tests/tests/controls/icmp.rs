//! ICMP errors of healthy life: closed ports and a traced route.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Datagrams};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, expect};

/// As traceroute does: three probes for each hop, each from a socket of its own to the next port.
const FIRST_PORT: u16 = 33_434;
const PROBES: u16 = 6;
const PROBES_PER_HOP: u16 = 3;

#[test]
fn closed_ports_and_traced_routes() -> Result<()> {
    let Some(_turn) = skip::ready(
        "controls::icmp::closed_ports_and_traced_routes",
        &[Need::Program("nstat")],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let count = |counter| counters::snmp(&lab.client, counter);
    let before = count("IcmpInDestUnreachs")? + count("IcmpInTimeExcds")?;
    let agent = Agent::watch(&lab.client)?;
    let closed = Datagrams {
        target: Routed::server_at(Family::V4, 9),
        count: 100,
        size: 100,
        burst: 5,
        every: Duration::from_millis(200),
    };
    let closed = load::datagrams(&lab.client, closed)?;
    for _ in 0..4 {
        trace(&lab)?;
        agent.wait_for_window(SystemTime::now(), 1)?;
    }
    closed.join()?;
    agent.wait_for_window(SystemTime::now(), 2)?;

    let expired = count("IcmpInTimeExcds")?;
    ensure!(
        expired > 3,
        "the router answered only {expired} probes, which is no test"
    );
    let truth = count("IcmpInDestUnreachs")? + expired - before;
    let lines = expect::calm(agent)?;
    let told = event_count(&lines, "icmp_error_received", |_| true);
    stream::ensure(&lines, told == truth, || {
        format!("nstat counts {truth} ICMP errors and the events {told}")
    })
}

fn trace(lab: &Routed) -> Result<()> {
    lab.client.run(|| {
        for probe in 0..PROBES {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_ttl(u32::from(probe / PROBES_PER_HOP) + 1)?;
            let hop = Routed::server_at(Family::V4, FIRST_PORT + probe);
            socket.send_to(&[0; 32], hop)?;
        }
        Ok(())
    })
}
