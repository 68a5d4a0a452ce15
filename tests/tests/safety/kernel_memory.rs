//! What a field of a packet points to may be anything: the programs read it so that no kernel can fall over it.
//!
//! While a datagram waits in a socket, the kernel keeps its length where the packet's device was (`udp_set_dev_scratch`). A
//! program that follows it on 5.10 could end in a panic: a fault in a program with subprograms may find no handler there.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::SystemTime;

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::netns::Namespace;
use osi_tests::skip;
use osi_tests::stream::{self, Line, rows};
use serde_json::Value;

/// Whether a fault found its handler depended on the order of all programs in the kernel's tree: several agents at once.
const AGENTS: usize = 5;
const SOCKETS: u64 = 40;
/// Fits into the smallest buffer that a socket is born with.
const DATAGRAMS: u64 = 50;

/// Sockets are closed over datagrams that nobody has read: the kernel frees them as dropped, and every one is counted.
#[test]
fn unread_datagrams_are_freed() -> Result<()> {
    let test = "safety::kernel_memory::unread_datagrams_are_freed";
    // Such packets carry no namespace any more, so that an agent for one would not see them.
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let host = Namespace::create("client")?;
    let agents = (0..AGENTS)
        .map(|_| Agent::watch_all())
        .collect::<Result<Vec<_>>>()?;
    host.run(|| {
        for _ in 0..SOCKETS {
            let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            for _ in 0..DATAGRAMS {
                sender.send_to(&[0; 1000], receiver.local_addr()?)?;
            }
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
