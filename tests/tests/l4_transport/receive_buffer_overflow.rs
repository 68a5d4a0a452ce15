//! A program reads twenty datagrams a second from its socket, and a thousand arrive.
//!
//! First evidence: the first `UdpRcvbufErrors`.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Datagrams};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, processes, wait};

const EXPECTED: Expected = Expected {
    cause: "receive_buffer_overflow",
    layer: "L4",
    within: STATISTICAL,
    beside: &[],
};

const PORT: u16 = 5000;
const DATAGRAMS: u64 = 6000;
/// A walk through the descriptors is asked for every 5 s at most, and its result is in the window after the next.
const OWNED: Duration = Duration::from_secs(12);

#[test]
fn receive_buffer_overflow() -> Result<()> {
    scenario(
        "l4_transport::receive_buffer_overflow::receive_buffer_overflow",
        Family::V4,
        "UdpRcvbufErrors",
    )
}

#[test]
fn receive_buffer_overflow_v6() -> Result<()> {
    scenario(
        "l4_transport::receive_buffer_overflow::receive_buffer_overflow_v6",
        Family::V6,
        "Udp6RcvbufErrors",
    )
}

fn scenario(test: &str, family: Family, counter: &str) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(family, PORT);
    let socket = pair
        .server
        .run(|| UdpSocket::bind(target).context("no socket"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (socket, stop) = (socket.try_clone()?, Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                let _whatever = socket.recv(&mut buffer);
                std::thread::sleep(Duration::from_millis(50));
            }
        })
    };
    let agent = Agent::watch(&pair.server)?;

    let fault = SystemTime::now();
    let plan = Datagrams {
        target,
        count: DATAGRAMS,
        size: 1000,
        burst: 20,
        every: Duration::from_millis(20),
    };
    let load = load::datagrams(&pair.client, plan)?;
    let lost = || counters::snmp(&pair.server, counter);
    let evidence = wait::until_above("lost datagrams", 0, Duration::from_secs(5), lost)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "listener" && scope["port"] == PORT && scope["proto"] == "udp",
        || format!("UDP port {PORT} is read too slowly, not {scope}"),
    )?;
    let started = processes::start_time(std::process::id())?;
    agent.wait_for("who holds the socket", OWNED, |line| {
        let owner = &line.verdict()["owner"];
        let holder = &owner["held_by"][0];
        line.is_fault_map()
            && owner["processes"] == 1
            && holder["pid"] == std::process::id()
            && holder["start_time"] == started
    })?;

    load.join()?;
    let truth = lost()?;
    let by_socket = counters::socket_drops(&pair.server, PORT)?;
    EXPECTED.resolves(&agent, &map)?;
    stop.store(true, Ordering::Relaxed);
    // Something to read, should it wait.
    let _sent = pair.client.run(|| {
        let last = UdpSocket::bind(Pair::client_at(family, 0))?;
        Ok(last.send_to(b"o", target)?)
    })?;
    drop(reader.join());
    drop(socket);
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L4", "udp_buffer_drops");
    let equal = truth > 0 && said == truth && by_socket == truth;
    stream::ensure(&lines, equal, || {
        format!(
            "nstat counts {truth} lost datagrams, ss {by_socket} of the socket, and the agent {said}"
        )
    })
}
