//! A process wants more ports than there are, before its sockets have a destination: UDP sockets that connect without having
//! bound, and TCP sockets that bind to port 0. The kernel refuses, and each refusal is told with protocol and process.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::Result;
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::netns::Namespace;
use osi_tests::skip;
use osi_tests::stream::{self, event_count};
use osi_tests::topology::Pair;
use rustix::io::Errno;
use rustix::net::{SocketType, bind};
use serde_json::Value;

use super::udp_ports::{ask, sockets};

const PORTS: usize = 100;
/// Of each protocol another number.
const UDP_REFUSED: usize = 7;
const TCP_REFUSED: usize = 5;

#[test]
fn ports_refused() -> Result<()> {
    let rung = ["tcp_get_port=fexit", "udp_get_port=fexit"];
    scenario("l4_transport::ports_refused::ports_refused", &rung)
}

#[test]
fn ports_refused_by_kretprobe() -> Result<()> {
    let rung = ["tcp_get_port=kretprobe", "udp_get_port=kretprobe"];
    let test = "l4_transport::ports_refused::ports_refused_by_kretprobe";
    scenario(test, &rung)
}

fn scenario(test: &str, rung: &[&str; 2]) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let host = &pair.client;
    host.give_out_ports(PORTS as u64)?;
    let options = rung.map(|variant| ["--probe-variant", variant]).concat();
    let agent = Agent::watch_with(host, &options)?;
    for probe in ["tcp_get_port", "udp_get_port"] {
        let status = agent.probe(probe)?;
        if status["state"] != "active" {
            agent.stop()?;
            return skip::skip(test, &format!("{probe}: {}", status["reason"]));
        }
    }

    let udp = ask(host, PORTS + UDP_REFUSED)?;
    let tcp = bind_any(host, PORTS + TCP_REFUSED)?;
    let made = [(udp.0.len(), udp.1), (tcp.0.len(), tcp.1)];
    agent.ensure(made == [(PORTS, UDP_REFUSED), (PORTS, TCP_REFUSED)], || {
        format!("sockets of UDP and TCP with a port, and without: {made:?}")
    })?;
    for proto in ["udp", "tcp"] {
        agent.wait_for(
            &format!("{proto} to be named for certain"),
            INTERVAL * 4,
            |line| {
                let finding = line.value();
                line.kind() == "finding"
                    && finding["cause"] == "ephemeral_ports_exhausted"
                    && finding["confidence"] == "certain"
                    && finding["scope"]["proto"] == proto
            },
        )?;
    }
    drop((udp, tcp));
    let lines = agent.stop()?;
    for (proto, refused) in [("udp", UDP_REFUSED), ("tcp", TCP_REFUSED)] {
        let is_it = |event: &Value| {
            let actor = event["process"]["pid"] == std::process::id();
            event["reason"] == proto && event["flow"]["proto"] == proto && actor
        };
        let told = event_count(&lines, "port_exhausted", is_it);
        stream::ensure_counted(
            &lines,
            &format!("refused {proto} ports"),
            refused as u64,
            told,
        )?;
    }
    Ok(())
}

/// TCP sockets that bind to any port: those that got one, and how many got EADDRINUSE.
fn bind_any(host: &Namespace, count: usize) -> Result<(Vec<OwnedFd>, usize)> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    sockets(
        host,
        count,
        SocketType::STREAM,
        Errno::ADDRINUSE,
        |socket| bind(socket, &any),
    )
}
