//! TCP saves memory from five megabytes on, and a server does not read what a hundred connections send.
//!
//! Where the kernel tells when data is read, that server is the root: what it leaves unread is much of what TCP holds.
//! The most that it may hold is far above: near it, each connection gets little, and the sum stops anywhere.
//! First evidence: so many pages in `/proc/net/sockstat`.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::machine::Setting;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{Line, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, scale, wait};

const SHORT: &str = "tcp_memory_pressure";
/// The memory may be short before a request has waited for a second.
const STALLED: Expected = Expected {
    cause: "application_stalled",
    layer: "L7",
    within: STATISTICAL,
    // The peers of the server stall, and try again.
    beside: &[
        SHORT,
        "packet_loss",
        "handshake_timeout",
        "peer_not_reading",
    ],
};
/// How long a request waits before its application is said to be stalled.
const WAITING: Duration = Duration::from_secs(1);

const SETTING: &str = "net/ipv4/tcp_mem";
/// Pages: where TCP begins to save, and what it may hold.
const PRESSURE: u64 = 1200;
const LIMIT: u64 = 4096;
const CONNECTIONS: usize = 100;

#[test]
fn tcp_memory_pressure() -> Result<()> {
    let Some(_turn) = skip::ready_alone(
        "l4_transport::tcp_memory_pressure::tcp_memory_pressure",
        &[Need::OwnMachine("net.ipv4.tcp_mem")],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let server = Server::start(&pair.server, target, Behaviour::Hold)?;
    let agent = Agent::watch_all()?;

    let fault = SystemTime::now();
    let short = Setting::change(SETTING, &format!("1024 {PRESSURE} {LIMIT}"))?;
    let streams = pair.client.run(|| fill(target))?;
    wait::until_above("pages of TCP", PRESSURE, Duration::from_secs(10), pages)?;
    let map = STALLED.named(&agent, fault, SystemTime::now() + WAITING)?;
    let short_of = agent.wait_for("the finding of the memory", INTERVAL * 8, |line| {
        line.kind() == "finding" && line.value()["cause"] == SHORT
    })?;
    let scope = &short_of.value()["scope"];
    agent.ensure(scope["kind"] == "host", || {
        format!("the memory is the host's, not that of {scope}")
    })?;
    agent.wait_for("the memory as a symptom", INTERVAL * 8, |line| {
        line.cause() == Some(STALLED.cause)
            && rows(line.verdict(), "symptoms").any(|row| row["cause"] == SHORT)
    })?;
    // Nothing is read: what fills the memory stays, but for what the senders try again.
    let before = pages()?;
    let shown = agent.wait_for_window(SystemTime::now(), 1)?;
    let (used, after) = (in_use(&shown), pages()?);
    let (least, most) = (before.min(after) as f64, before.max(after) as f64);
    let is_same = |used| used >= least * 0.8 && used <= most * 1.2;
    agent.compare(used.is_some_and(is_same), || {
        format!("sockstat counts {before} and then {after} pages, and the agent {used:?} between")
    })?;

    drop(streams);
    drop(server);
    short.restore()?;
    STALLED.resolves(&agent, &map)?;
    STALLED.stop(agent).map(drop)
}

/// Connections whose buffers are full on both sides.
fn fill(target: std::net::SocketAddr) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        // The last ones may find no memory to be made in.
        let patience = scale::patience(Duration::from_millis(500));
        let Ok(mut stream) = TcpStream::connect_timeout(&target, patience) else {
            break;
        };
        stream.set_nonblocking(true)?;
        let chunk = vec![b'o'; 64 * 1024];
        for _ in 0..16 {
            // What does not fit need not.
            if stream.write(&chunk).is_err() {
                break;
            }
        }
        streams.push(stream);
    }
    Ok(streams)
}

fn pages() -> Result<u64> {
    counters::sockstat("TCP", "mem")
}

/// The same, as the agent says.
fn in_use(map: &Line) -> Option<f64> {
    map.meters("L4", "tcp_memory").next()?["used"].as_f64()
}
