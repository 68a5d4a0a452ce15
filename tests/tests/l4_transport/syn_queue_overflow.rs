//! More SYNs than a listener may hold, from a client that never finishes a handshake.
//!
//! A bounded number of hand-made SYNs; the client drops the answers before its own kernel resets them. First evidence: the first
//! SYN that is dropped, or answered by a cookie.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD, STATISTICAL};
use osi_tests::nft::DropRule;
use osi_tests::server::listen;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, frame, scale, wait};

const PORT: u16 = 7;
const BACKLOG: i32 = 8;
/// Three seconds of them: cookies must go on to be named.
const SYNS: u64 = 600;

#[test]
fn syn_queue_overflow() -> Result<()> {
    scenario(
        "l4_transport::syn_queue_overflow::syn_queue_overflow",
        "0",
        HARD,
    )
}

#[test]
fn syn_queue_overflow_with_cookies() -> Result<()> {
    scenario(
        "l4_transport::syn_queue_overflow::syn_queue_overflow_with_cookies",
        "1",
        STATISTICAL,
    )
}

fn scenario(test: &str, cookies: &str, within: usize) -> Result<()> {
    let needs = [Need::Program("nft"), Need::Program("nstat")];
    let Some(_turn) = skip::ready(test, &needs)? else {
        return Ok(());
    };
    let expected = Expected {
        cause: "syn_queue_overflow",
        layer: "L4",
        within,
        beside: &[],
    };
    let with_cookies = cookies == "1";
    let (counter, signal, severity) = if with_cookies {
        ("TcpExtSyncookiesSent", "syncookies_sent", "warn")
    } else {
        ("TcpExtTCPReqQFullDrop", "syn_queue_drops", "critical")
    };
    let pair = Pair::build()?;
    pair.server.set_sysctl("net/ipv4/tcp_syncookies", cookies)?;
    let listener = listen(&pair.server, Pair::server_at(Family::V4, PORT), BACKLOG)?;
    let rule = DropRule::add(&pair.client, "input", &format!("tcp sport {PORT}"))?;
    let head = frame::ethernet(
        (&pair.client, "eth0"),
        (&pair.server, "eth0"),
        frame::IPV4,
        &[],
    )?;
    let agent = Agent::watch(&pair.server)?;

    let fault = SystemTime::now();
    let flood = frame::send(&pair.client, "eth0", SYNS, move |number| {
        let from = 10_000 + number as u16;
        [
            head.clone(),
            frame::syn(Pair::CLIENT, from, Pair::SERVER, PORT),
        ]
        .concat()
    })?;
    let patience = scale::patience(Duration::from_secs(3));
    let hit = || counters::snmp(&pair.server, counter);
    let evidence = wait::until_above(counter, 0, patience, hit)?;
    // The queue is full and stays so while the flood lasts.
    let unfinished = counters::unfinished(&pair.server, PORT)?;
    let map = expected.named(&agent, fault, evidence)?;
    let verdict = map.verdict();
    let scope = &verdict["scope"];
    agent.ensure(scope["kind"] == "listener" && scope["port"] == PORT, || {
        format!("the SYN queue of port {PORT} is full, not of {scope}")
    })?;
    agent.ensure(verdict["state"] == severity, || {
        format!("it is {}, not {severity}", verdict["state"])
    })?;

    let meter = map
        .meters("L4", "syn_queue")
        .find(|row| row["scope"]["port"] == PORT);
    let used = meter.and_then(|row| row["used"].as_f64());
    ensure!(unfinished >= BACKLOG as u64, "{unfinished} are unfinished");
    agent.compare(used == Some(unfinished as f64), || {
        format!("ss lists {unfinished} unfinished handshakes, the meter has {used:?}")
    })?;
    agent.ensure(
        meter.and_then(|row| row["capacity"].as_f64()) == Some(f64::from(BACKLOG)),
        || format!("the backlog is {BACKLOG}: {meter:?}"),
    )?;

    flood.join()?;
    expected.resolves(&agent, &map)?;
    let hit = hit()?;
    let lines = expected.stop(agent)?;
    stream::ensure_counted(&lines, counter, hit, growth(&lines, "L4", signal))?;
    if !with_cookies {
        let told = stream::event_count(&lines, "syn_dropped", |_| true);
        stream::ensure_counted(&lines, "events of dropped SYNs", hit, told)?;
    }
    drop(listener);
    rule.remove().map(drop)
}
