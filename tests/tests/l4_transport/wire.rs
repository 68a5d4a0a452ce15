//! tcpdump on the wire beside agents at both ends: SYNs, answers to them, resets, and how long handshakes take, over IPv4 and
//! IPv6.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::capture::{ACK, Capture, RST, SYN, flags};
use osi_tests::delay::{DelayedPair, INTERFACE};
use osi_tests::grid::{FINE, bucket};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::nft::DropRule;
use osi_tests::scale;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, growth};
use osi_tests::topology::Family;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// Each way.
const DELAY: Duration = Duration::from_millis(20);
const PORT: u16 = 7;
const REFUSING: u16 = 81;
const SILENT: u16 = 91;
/// Refuses the last connect of all.
const LAST: u16 = 90;
/// Over each of the two.
const EXCHANGES: u64 = 60;
const REFUSED: u64 = 25;
const UNHEARD: u64 = 5;
/// Time for a SYN to be sent again twice or three times.
const PATIENCE: Duration = Duration::from_millis(3500);
/// Everything lies in one window of each agent, which its end ends.
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
    let _silence = DropRule::add(&pair.server, "input", &format!("tcp dport {SILENT}"))?;
    let start = |family| Server::start(&pair.server, at(family, PORT), Behaviour::Echo);
    let servers = FAMILIES.map(start);
    let capture = Capture::start(&pair.client, INTERFACE)?;
    let window = scale::patience(WINDOW);
    let hosts = [&pair.client, &pair.server];
    let [agent, accepting] = Agent::watch_both(hosts, window, &[])?;

    let plan = |target: SocketAddr, connections, exchange| Plan {
        target,
        connections,
        per_second: 100,
        connect_timeout: Duration::from_secs(5),
        exchange,
    };
    let connect = |plan| load::connections(&pair.client, plan)?.join();
    let mut exchanges = 0;
    for family in FAMILIES {
        exchanges += connect(plan(at(family, PORT), EXCHANGES, Exchange::Echo))?.connected;
        connect(plan(at(family, REFUSING), REFUSED, Exchange::None))?;
    }
    let wait =
        |family| load::connect_all_at_once(&pair.client, at(family, SILENT), UNHEARD, PATIENCE);
    for waiting in FAMILIES.map(wait) {
        waiting?.join()?;
    }
    for server in servers {
        drop(server?);
    }
    connect(plan(at(Family::V4, LAST), 1, Exchange::None))?;
    let packets = capture.stop(&format!("src port {LAST} and {}", flags(RST, RST)))?;
    let (lines, theirs) = (agent.stop()?, accepting.stop()?);

    let begins = flags(SYN | ACK, SYN);
    let syns = packets.count(&format!("dst portrange 7-91 and {begins}"))?;
    let (begun, again) = (
        growth(&lines, "L4", "connects"),
        growth(&lines, "L4", "retransmits_handshake"),
    );
    ensure!(again >= 2 * UNHEARD, "{again} SYNs were sent again");
    stream::ensure_counted(&lines, "SYNs that tcpdump sees", syns, begun + again)?;
    let answers = flags(SYN | ACK, SYN | ACK);
    let answers = packets.count(&format!("src portrange 7-91 and {answers}"))?;
    let answered = [answers, exchanges, 2 * EXCHANGES];
    ensure!(
        answered == [answers; 3],
        "answers that tcpdump sees, connects that succeeded, and those that should: {answered:?}"
    );
    let resets = packets.count(&format!("src portrange 7-91 and {}", flags(RST, RST)))?;
    ensure!(resets == 2 * REFUSED + 1, "tcpdump sees {resets} resets");
    // Of both ends.
    for (lines, what, seen, told) in [
        (
            &lines,
            "answers",
            answers,
            growth(&lines, "L4", "connected"),
        ),
        (
            &lines,
            "resets",
            resets,
            event_count(&lines, "reset_received", |_| true),
        ),
        (
            &theirs,
            "answers of the server",
            answers,
            growth(&theirs, "L4", "accepted"),
        ),
        (
            &theirs,
            "resets of the server",
            resets,
            growth(&theirs, "L4", "resets_sent"),
        ),
    ] {
        stream::ensure_counted(lines, &format!("{what} that tcpdump sees"), seen, told)?;
    }

    let times = packets.handshakes(PORT)?;
    ensure!(times.len() as u64 == answers, "{} handshakes", times.len());
    // The slowest few depend on when either of the two got the CPU.
    let seen = times[times.len() / 2];
    for (lines, signal) in [
        (&lines, "tcp_handshake_client"),
        (&theirs, "tcp_handshake_server"),
    ] {
        let measured =
            |line: &&Line| line.is_fault_map() && line.latency("L4", signal, "count") > Some(0);
        let map = lines.iter().find(measured);
        let map = map.context("no window has a handshake")?;
        let told = map.latency("L4", signal, "p50_ns").unwrap_or(0);
        let [at, beside] = [told, seen].map(|ns| bucket(ns, FINE));
        stream::ensure(lines, at.abs_diff(beside) <= 1, || {
            format!(
                "tcpdump sees a median of {seen}, {signal} is {told}, bucket {at} beside {beside}"
            )
        })?;
    }
    Ok(())
}

fn at(family: Family, port: u16) -> SocketAddr {
    DelayedPair::server_at(family, port)
}
