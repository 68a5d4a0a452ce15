//! tcpdump on the wire beside the agent: SYNs, answers to them, resets, and how long handshakes take.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::capture::Capture;
use osi_tests::delay::{DelayedPair, INTERFACE};
use osi_tests::grid::{FINE, bucket};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::nft::DropRule;
use osi_tests::scale;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::Family;

/// Each way.
const DELAY: Duration = Duration::from_millis(20);
const PORT: u16 = 7;
const REFUSING: u16 = 81;
const SILENT: u16 = 91;
/// Refuses the last connect of all.
const LAST: u16 = 90;
const EXCHANGES: u64 = 60;
const REFUSED: u64 = 25;
const UNHEARD: u64 = 5;
/// Time for a SYN to be sent again twice or three times.
const PATIENCE: Duration = Duration::from_millis(3500);
/// Everything lies in one window, which the agent's end ends.
const WINDOW: Duration = Duration::from_secs(15);

#[test]
fn tcpdump_sees_the_same() -> Result<()> {
    let test = "l4_transport::wire::tcpdump_sees_the_same";
    let needs = [
        Need::Device("/dev/net/tun"),
        Need::Program("nft"),
        Need::Program("tcpdump"),
    ];
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let pair = DelayedPair::build(scale::patience(DELAY))?;
    let at = |port| DelayedPair::server_at(Family::V4, port);
    let _silence = DropRule::add(&pair.server, "input", &format!("tcp dport {SILENT}"))?;
    let server = Server::start(&pair.server, at(PORT), Behaviour::Echo)?;
    let capture = Capture::start(&pair.client, INTERFACE)?;
    let window = format!("{}s", scale::patience(WINDOW).as_secs());
    let agent = Agent::watch_every(&pair.client, &window, &[])?;

    let plan = |target: SocketAddr, connections, exchange| Plan {
        target,
        connections,
        per_second: 100,
        connect_timeout: Duration::from_secs(5),
        exchange,
    };
    let echo = plan(at(PORT), EXCHANGES, Exchange::Echo);
    let report = load::connections(&pair.client, echo)?.join()?;
    let refused = plan(at(REFUSING), REFUSED, Exchange::None);
    load::connections(&pair.client, refused)?.join()?;
    load::connect_all_at_once(&pair.client, at(SILENT), UNHEARD, PATIENCE)?.join()?;
    drop(server);
    load::connections(&pair.client, plan(at(LAST), 1, Exchange::None))?.join()?;
    let packets = capture.stop(&format!("src port {LAST} and tcp[tcpflags] & tcp-rst != 0"))?;
    let lines = agent.stop()?;

    let syns =
        packets.count("dst portrange 7-91 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn")?;
    let (begun, again) = (
        growth(&lines, "L4", "connects"),
        growth(&lines, "L4", "retransmits_handshake"),
    );
    ensure!(again >= UNHEARD, "{again} SYNs were sent again");
    stream::ensure_counted(&lines, "SYNs that tcpdump sees", syns, begun + again)?;
    let answers = packets
        .count("src portrange 7-91 and tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)")?;
    let connected = growth(&lines, "L4", "connected");
    ensure!(
        answers == report.connected,
        "tcpdump sees {answers} answers"
    );
    stream::ensure_counted(&lines, "answers that tcpdump sees", answers, connected)?;
    let resets = packets.count("src portrange 7-91 and tcp[tcpflags] & tcp-rst != 0")?;
    let told = event_count(&lines, "reset_received", |_| true);
    ensure!(resets == REFUSED + 1, "tcpdump sees {resets} resets");
    stream::ensure_counted(&lines, "resets that tcpdump sees", resets, told)?;

    let times = packets.handshakes(PORT)?;
    ensure!(
        times.len() as u64 == EXCHANGES,
        "{} handshakes",
        times.len()
    );
    let signal = "tcp_handshake_client";
    let map = lines
        .iter()
        .find(|line| line.is_fault_map() && line.latency("L4", signal, "count") > Some(0))
        .context("no window has a handshake")?;
    // The slowest few depend on when either of the two got the CPU.
    let seen = times[times.len() / 2];
    let told = map.latency("L4", signal, "p50_ns").unwrap_or(0);
    let [at, beside] = [told, seen].map(|ns| bucket(ns, FINE));
    stream::ensure(&lines, at.abs_diff(beside) <= 1, || {
        format!(
            "tcpdump sees a median of {seen}, the agent says {told}, bucket {at} beside {beside}"
        )
    })
}
