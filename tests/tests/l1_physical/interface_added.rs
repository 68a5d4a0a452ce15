//! An interface that appears while its host is watched, sends, and goes again.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::load::{self, Datagrams};
use osi_tests::skip;
use osi_tests::stream::Line;
use osi_tests::topology::Pair;
use osi_tests::{link, wait};

const INTERFACE: &str = "late0";
const PORT: u16 = 9;
const BURST: u64 = 50;
const BURSTS: u64 = 20;
/// Ethernet, IP and UDP headers, and payload.
const PACKET_BYTES: u64 = 14 + 20 + 8 + 1000;
/// A new row needs a window to be noticed in and one to be measured in; more for a busy machine.
const NOTICED: Duration = Duration::from_secs(8);

#[test]
fn an_interface_is_followed_while_it_is_there() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l1_physical::interface_added::an_interface_is_followed_while_it_is_there",
        &[],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.client)?;
    add(&pair)?;
    let added = SystemTime::now();
    agent.wait_for("the rows of late0", NOTICED, |line| {
        is_after(line, added) && ALL.iter().all(|id| used(line, id).is_some())
    })?;

    let target = SocketAddr::new(Ipv4Addr::new(10, 7, 0, 2).into(), PORT);
    // Somebody must be there, or the kernel would answer each datagram with an error.
    let receiver = pair.server.run(|| Ok(UdpSocket::bind(target)?))?;
    let sent_before = link::sent_bytes(&pair.client, INTERFACE)?;
    let received_before = link::received_bytes(&pair.client, INTERFACE)?;
    let began = SystemTime::now();
    let plan = Datagrams {
        target,
        count: BURST * BURSTS,
        size: 1000,
        burst: BURST,
        every: Duration::from_millis(100),
    };
    load::datagrams(&pair.client, plan)?.join()?;
    let sent = link::sent_bytes(&pair.client, INTERFACE)? - sent_before;
    agent.ensure(sent >= BURST * BURSTS * PACKET_BYTES, || {
        format!(
            "{} datagrams left and ip counts {sent} bytes",
            BURST * BURSTS
        )
    })?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let received = link::received_bytes(&pair.client, INTERFACE)? - received_before;
    drop(receiver);

    let maps = agent.fault_maps_after(began)?;
    let peak = |id| {
        maps.iter()
            .filter_map(|map| used(map, id))
            .fold(0.0, f64::max)
    };
    let (rx, tx) = (peak("burst_peak_rx"), peak("burst_peak_tx"));
    // The milliseconds of the agent may cut a burst, and the sender may be interrupted: a quarter in one of them is sure.
    let least = (BURST * PACKET_BYTES * 8 * 1000 / 4) as f64;
    let most = (sent * 8 * 1000) as f64;
    agent.compare((least..=most).contains(&tx), || {
        format!("bursts of {BURST} packets of {PACKET_BYTES} bytes left and the busiest millisecond is said to have sent {tx} bit/s")
    })?;
    agent.ensure(rx < tx / 10.0, || {
        format!("late0 only sends, and the busiest milliseconds are said to be rx {rx} and tx {tx} bit/s")
    })?;
    for (id, truth) in [
        ("link_throughput_tx", sent),
        ("link_throughput_rx", received),
    ] {
        let said: f64 = maps.iter().filter_map(|map| bytes(map, id)).sum();
        agent.compare((said - truth as f64).abs() <= sent as f64 * 0.05, || {
            format!("ip counts {truth} bytes and {id} comes to {said:.0}")
        })?;
    }

    // 1,042 bytes lie in the class up to 2,048, and nothing else does.
    for (direction, truth) in [("tx", BURST * BURSTS), ("rx", 0)] {
        let said: u64 = maps
            .iter()
            .map(|map| map.packets_up_to(2048, INTERFACE, direction))
            .sum();
        agent.compare(said == truth, || {
            format!("{truth} datagrams went {direction} and {said} packets of their size are told")
        })?;
    }

    pair.client.ip(&["link", "del", INTERFACE])?;
    let removed = SystemTime::now();
    agent.wait_for("a fault map without late0", NOTICED, |line| {
        is_after(line, removed) && !line.value()["layers"].to_string().contains(INTERFACE)
    })?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let complaints = agent.complaints();
    agent.ensure(complaints.is_empty(), || "the agent complained".to_owned())?;
    agent.stop().map(drop)
}

const ALL: [&str; 4] = [
    "burst_peak_rx",
    "burst_peak_tx",
    "link_throughput_rx",
    "link_throughput_tx",
];

/// Adds a second link between the hosts and waits until packets pass: the neighbours know each other then.
fn add(pair: &Pair) -> Result<()> {
    link::add_veth((&pair.client, INTERFACE), (&pair.server, INTERFACE))?;
    for (host, address) in [(&pair.client, "10.7.0.1/24"), (&pair.server, "10.7.0.2/24")] {
        host.ip(&["address", "add", address, "dev", INTERFACE])?;
        link::set_up(host, INTERFACE, true)?;
    }
    wait::until("late0 carries packets", Duration::from_secs(5), || {
        let probe = SocketAddr::new(Ipv4Addr::new(10, 7, 0, 2).into(), 1);
        let outcome = pair.client.run(|| {
            Ok(std::net::TcpStream::connect_timeout(
                &probe,
                Duration::from_millis(200),
            ))
        })?;
        let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        Ok(outcome.is_err_and(refused).then_some(()))
    })
}

fn is_after(line: &Line, time: SystemTime) -> bool {
    line.is_fault_map() && line.time().is_ok_and(|end| end >= time)
}

fn used(map: &Line, id: &str) -> Option<f64> {
    map.meters("L1", id)
        .find(|row| row["scope"]["iface"]["name"] == INTERFACE)
        .and_then(|row| row["used"].as_f64())
}

/// What a throughput row comes to over its window.
fn bytes(map: &Line, id: &str) -> Option<f64> {
    let window = map.value()["window_ns"].as_f64()?;
    Some(used(map, id)? / 8.0 * window / 1e9)
}
