//! What a field of a packet points to may be anything: the programs read it so that no kernel can fall over it.
//!
//! While a datagram waits in a socket, the kernel keeps its length where the packet's device was (`udp_set_dev_scratch`). A
//! program that follows it on 5.10 could end in a panic: a fault in a program with subprograms may find no handler there.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::netns::Namespace;
use osi_tests::scale;
use osi_tests::skip;
use osi_tests::stream::{self, Line, rows};
use osi_tests::wait;
use serde_json::Value;

/// Whether a fault found its handler depended on the order of all programs in the kernel's tree: several agents at once.
const AGENTS: usize = 5;
const SOCKETS: u64 = 40;
/// Fits into the smallest buffer that a socket is born with.
const DATAGRAMS: u64 = 50;

/// Delivery on the loopback device.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sockets are closed over datagrams that nobody has read: the kernel frees them as dropped, and every one is counted.
#[test]
fn unread_datagrams_are_freed() -> Result<()> {
    let test = "safety::kernel_memory::unread_datagrams_are_freed";
    // Such packets carry no namespace any more, so that an agent for one would not see them.
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let host = Namespace::create("client")?;
    // On an emulated CPU, agents that look each second leave the next one no time to start.
    let interval = scale::patience(INTERVAL);
    let agents = (0..AGENTS)
        .map(|_| Agent::watch_all_every(interval))
        .collect::<Result<Vec<_>>>()?;
    host.run(|| {
        for _ in 0..SOCKETS {
            let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            fill(&receiver)?;
        }
        Ok(())
    })?;
    let freed_by = SystemTime::now();
    for agent in agents {
        agent.wait_for_window(freed_by, 2)?;
        let lines = agent.stop()?;
        let counted = stream::sum(&lines, freed);
        let offered = SOCKETS * DATAGRAMS;
        stream::ensure_counted(&lines, "unread datagrams", offered, counted)?;
    }
    Ok(())
}

/// Sends datagrams and waits until they lie in the socket: what is still on its way when it closes finds no socket instead.
fn fill(receiver: &UdpSocket) -> Result<()> {
    let to = receiver.local_addr()?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let send = || Ok::<_, anyhow::Error>(sender.send_to(&[0; 1000], to)?);
    send()?;
    let one = wait::until("a datagram lies in the socket", PATIENCE, || {
        Ok(Some(queued(to.port())?).filter(|bytes| *bytes > 0))
    })?;
    for _ in 1..DATAGRAMS {
        send()?;
    }
    wait::until("all datagrams lie in the socket", PATIENCE, || {
        Ok((queued(to.port())? == DATAGRAMS * one).then_some(()))
    })
}

/// Memory of what lies in the UDP socket of a port (`rx_queue` of `/proc/net/udp`).
fn queued(port: u16) -> Result<u64> {
    let table = std::fs::read_to_string("/proc/thread-self/net/udp")?;
    let local = format!(":{port:04X}");
    let row = table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next()?.ends_with(&local).then_some(())?;
        words
            .nth(2)?
            .split_once(':')
            .map(|(_, queue)| queue.to_owned())
    });
    let row = row.with_context(|| format!("/proc/net/udp has no port {port}"))?;
    Ok(u64::from_str_radix(&row, 16)?)
}

/// Packets of a window that were freed with their socket.
fn freed(line: &Line) -> u64 {
    let of_socket = |function: &Value| {
        function
            .as_str()
            .is_some_and(|name| name.starts_with("udp_destruct"))
    };
    rows(line.value(), "layers")
        .flat_map(|layer| rows(layer, "drops_by_reason"))
        .filter(|row| rows(row, "functions").any(of_socket))
        .filter_map(|row| row["packets"].as_u64())
        .sum()
}
