//! What the host's sockets share: memory of UDP, and connections that no process holds any more. `/proc/net/sockstat` counts
//! both, for the whole host whatever the namespace.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Datagrams};
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, wait};

const PATIENCE: Duration = Duration::from_secs(10);

/// Sockets that read nothing, and datagrams that each of them has room for.
const SOCKETS: u16 = 64;
const DATAGRAMS: u64 = 60;
/// Pages that these fill at least, beyond the 256 that each CPU may keep to itself.
const PAGES: u64 = 512;
/// Connections that their process leaves with something to send.
const ORPHANS: u64 = 25;

#[test]
fn memory_of_udp_is_what_sockstat_counts() -> Result<()> {
    let test = "l4_transport::memory::memory_of_udp_is_what_sockstat_counts";
    // Alone: others send datagrams as well.
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let pages = || counters::sockstat("UDP", "mem");
    let before = pages()?;
    let server = Pair::server_at(Family::V4, 0).ip();
    let ports = 5000..5000 + SOCKETS;
    let sockets: Vec<UdpSocket> = pair.server.run(|| {
        let bind = |port| UdpSocket::bind((server, port)).context("no socket");
        ports.clone().map(bind).collect()
    })?;
    let agent = Agent::watch(&pair.server)?;
    for port in ports {
        fill(&pair, server, port)?;
    }
    wait::until_above("pages of UDP", before + PAGES, PATIENCE, pages)?;
    equal(&agent, "udp_memory", "pages of UDP", pages)?;
    agent.stop()?;
    drop(sockets);
    Ok(())
}

#[test]
fn orphans_are_what_sockstat_counts() -> Result<()> {
    let test = "l4_transport::memory::orphans_are_what_sockstat_counts";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("nft")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let _server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let agent = Agent::watch(&pair.client)?;
    let streams = load::push(&pair.client, target, ORPHANS as usize, 1)?;
    let silence = DropRule::add(&pair.server, "input", "tcp dport 7")?;
    for mut stream in streams {
        stream.write_all(b"o")?;
    }
    let closing = format!("state fin-wait-1 dst {target}");
    wait::until("ss lists those that close", PATIENCE, || {
        Ok((counters::tcp_sockets(&pair.client, &closing)? == ORPHANS).then_some(()))
    })?;
    let orphans = || counters::sockstat("TCP", "orphan");
    wait::until_above("orphans", ORPHANS - 1, PATIENCE, orphans)?;
    equal(&agent, "orphans", "orphans", orphans)?;
    silence.remove()?;
    agent.stop().map(drop)
}

/// As many datagrams as one socket takes.
fn fill(pair: &Pair, server: IpAddr, port: u16) -> Result<()> {
    let plan = Datagrams {
        target: SocketAddr::new(server, port),
        count: DATAGRAMS,
        size: 1000,
        burst: DATAGRAMS,
        every: Duration::ZERO,
    };
    load::datagrams(&pair.client, plan)?.join()
}

/// The meter of a whole window, beside what is counted before and after it.
fn equal(agent: &Agent, meter: &str, what: &str, counted: impl Fn() -> Result<u64>) -> Result<()> {
    let before = counted()?;
    let map = agent.wait_for_window(SystemTime::now(), 2)?;
    let after = counted()?;
    let row = map.meters("L4", meter).next();
    let used = row.and_then(|row| row["used"].as_f64());
    let (least, most) = (before.min(after) as f64, before.max(after) as f64);
    let is_between = used.is_some_and(|used| least <= used && used <= most);
    agent.compare(is_between, || {
        format!("sockstat counts {before} and then {after} {what}, and the agent {used:?} between")
    })
}
