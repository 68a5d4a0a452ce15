//! A firewall that drops by default, and the packets that every network sends to such a host.
//!
//! Nobody behind it misses them: it does what it is there for.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::counters;
use osi_tests::expect;
use osi_tests::load::{self, Datagrams, Exchange, Plan};
use osi_tests::nft::DefaultDrop;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};

const ALLOWED: u16 = 7;
/// Ten a second for six seconds.
const DATAGRAMS: u64 = 60;
/// Seven a second for six seconds.
const SYNS: u64 = 42;

#[test]
fn broadcast_and_multicast_are_dropped() -> Result<()> {
    scenario(
        "controls::firewall::broadcast_and_multicast_are_dropped",
        |pair| {
            let group = Ipv4Addr::new(224, 0, 0, 251);
            pair.client
                .ip(&["route", "add", "224.0.0.0/4", "dev", "eth0"])?;
            let member = pair.server.run(|| {
                let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353))?;
                member.join_multicast_v4(&group, &Ipv4Addr::new(10, 1, 0, 2))?;
                Ok(member)
            })?;
            let everybody = Pair::broadcast_at(137);
            let members = SocketAddr::new(group.into(), 5353);
            let senders = [everybody, members].map(|target| {
                let plan = Datagrams {
                    target,
                    count: DATAGRAMS,
                    size: 200,
                    burst: 1,
                    every: Duration::from_millis(100),
                };
                load::datagrams(&pair.client, plan)
            });
            for sender in senders {
                sender?.join()?;
            }
            drop(member);
            Ok(2 * DATAGRAMS)
        },
    )
}

#[test]
fn connects_to_an_unused_port_are_dropped() -> Result<()> {
    scenario(
        "controls::firewall::connects_to_an_unused_port_are_dropped",
        |pair| {
            let plan = Plan {
                target: Pair::server_at(Family::V4, 23),
                connections: SYNS,
                per_second: 7,
                // Given up before the SYN is sent again, but for a machine that is out of breath.
                connect_timeout: Duration::from_millis(400),
                exchange: Exchange::None,
            };
            let again = || counters::snmp(&pair.client, "TcpExtTCPSynRetrans");
            let before = again()?;
            let report = load::connections(&pair.client, plan)?.join()?;
            let silent = report.errors_of(libc::ETIMEDOUT);
            ensure!(
                silent == SYNS,
                "{SYNS} connects should have had no answer: {report:?}"
            );
            Ok(SYNS + again()? - before)
        },
    )
}

/// `noise` returns how many packets it sent that the firewall must have dropped.
fn scenario(test: &str, noise: impl FnOnce(&Pair) -> Result<u64>) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nft"), Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, ALLOWED);
    let server = Server::start(&pair.server, target, Behaviour::Echo)?;
    let firewall = DefaultDrop::add(&pair.server, ALLOWED)?;
    let agent = Agent::watch(&pair.server)?;

    let sent = noise(&pair)?;
    let ended = SystemTime::now();
    let dropped = firewall.packets()?;
    agent.ensure(dropped == sent, || {
        format!("{sent} packets were sent to the firewall and it dropped {dropped}")
    })?;
    let plan = Plan {
        target,
        connections: 5,
        per_second: 50,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let report = load::connections(&pair.client, plan)?.join()?;
    agent.ensure(report.completed == 5, || {
        format!("the allowed port does not answer: {:?}", report.errors)
    })?;
    agent.wait_for_window(ended, 2)?;
    drop(server);
    expect::calm(agent).map(drop)
}
