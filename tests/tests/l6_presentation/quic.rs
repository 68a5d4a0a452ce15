//! QUIC handshakes of a real client with a real server: each is counted by how it ended, on both sides, and as long as it took.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::calm;
use osi_tests::nft::DropRule;
use osi_tests::quic::{UNKNOWN, ask, serve};
use osi_tests::secure::Certificate;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, growth, rows, sum};
use osi_tests::topology::{Family, Pair, Routed};

const NEEDS: &[Need] = &[
    Need::Program("gtlsserver"),
    Need::Program("gtlsclient"),
    Need::Program("openssl"),
];

/// Of each kind.
const GOOD: u64 = 12;
const BAD: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn every_handshake_is_counted_as_the_client_counts_it() -> Result<()> {
    let test = "l6_presentation::quic::every_handshake_is_counted_as_the_client_counts_it";
    let Some(_turn) = skip::ready(test, NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let certificate = Certificate::create(&pair.server, "quic")?;
    let (v4, v6) = (
        Pair::server_at(Family::V4, 443),
        Pair::server_at(Family::V6, 8443),
    );
    let _servers = [
        serve(&pair.server, v4, &certificate)?,
        serve(&pair.server, v6, &certificate)?,
    ];
    let agents = [Agent::watch(&pair.client)?, Agent::watch(&pair.server)?];
    let asked = |server, version, count| ask(&pair.client, server, version, count, PATIENCE);
    for server in [v4, v6] {
        for version in ["v1", "v2draft"] {
            let told = asked(server, version, GOOD)?;
            ensure!((told.completed(), told.failed) == (GOOD, 0), "{told:?}");
        }
    }
    let refused = asked(v4, UNKNOWN, BAD)?;
    ensure!(refused.failed == BAD, "{refused:?}");

    let ended = SystemTime::now();
    for agent in agents {
        agent.wait_for_window(ended, 2)?;
        let lines = calm(agent)?;
        for (id, offered) in [
            ("quic_v1_completed", 2 * GOOD),
            ("quic_draft_completed", 2 * GOOD),
            ("quic_v2_completed", 0),
            ("quic_version_refused", BAD),
            ("quic_no_answer", 0),
            ("quic_unfinished", 0),
            ("tls13_completed", 0),
        ] {
            stream::ensure_counted(&lines, id, offered, growth(&lines, "L6", id))?;
        }
        let told = event_count(&lines, "tls_failed", |event| {
            event["reason"] == "quic_version_refused"
        });
        stream::ensure_counted(&lines, "refusals", BAD, told)?;
        let timed = sum(&lines, |map| {
            map.latency("L6", "quic_handshake", "count").unwrap_or(0)
        });
        stream::ensure_counted(&lines, "times", 4 * GOOD, timed)?;
        of_udp(&lines)?;
        stream::ensure_none_in_flight(&lines, "L6", "quic_handshake")?;
    }
    Ok(())
}

/// A router sees each of them on two interfaces, and counts it once, by its server.
#[test]
fn a_router_counts_each_once() -> Result<()> {
    let test = "l6_presentation::quic::a_router_counts_each_once";
    let Some(_turn) = skip::ready(test, NEEDS)? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let certificate = Certificate::create(&lab.server, "quic")?;
    let server = Routed::server_at(Family::V4, 443);
    let _server = serve(&lab.server, server, &certificate)?;
    let agent = Agent::watch(&lab.router)?;
    let told = ask(&lab.client, server, "v1", GOOD, PATIENCE)?;
    ensure!((told.completed(), told.failed) == (GOOD, 0), "{told:?}");
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let counted = growth(&lines, "L6", "quic_v1_completed");
    stream::ensure_counted(&lines, "handshakes handed on", GOOD, counted)?;
    let timed = sum(&lines, |map| {
        map.latency("L6", "quic_handshake", "count").unwrap_or(0)
    });
    stream::ensure_counted(&lines, "times", GOOD, timed)?;
    of_udp(&lines)?;
    stream::ensure_none_in_flight(&lines, "L6", "quic_handshake")
}

/// What is counted is said to be of UDP, and of one server or port each.
fn of_udp(lines: &[Line]) -> Result<()> {
    let maps = lines.iter().filter(|line| line.is_fault_map());
    let all = maps.flat_map(|map| rows(map.layer("L6"), "counters"));
    let mut named = all
        .filter(|row| row["id"] == "quic_v1_completed")
        .peekable();
    let is_there = named.peek().is_some();
    let are_of_udp = named.all(|row| row["scope"]["proto"] == "udp");
    stream::ensure(lines, is_there && are_of_udp, || {
        "the counters of QUIC are of UDP".to_owned()
    })
}

/// A filter before the server drops what comes: the client hears nothing.
#[test]
fn a_server_that_says_nothing_is_told() -> Result<()> {
    let test = "l6_presentation::quic::a_server_that_says_nothing_is_told";
    let needs = [NEEDS, &[Need::Program("nft")]].concat();
    let Some(_turn) = skip::ready(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 443);
    let _filter = DropRule::add(&pair.server, "input", "udp dport 443")?;
    let agent = Agent::watch(&pair.client)?;
    let told = ask(&pair.client, target, "v1", 1, Duration::from_secs(1))?;
    ensure!(told.failed == 1, "{told:?}");
    // The agent waits for thirty seconds, whatever the client does.
    agent.wait_for(
        "the handshake to be given up",
        Duration::from_secs(45),
        |line| line.value()["kind"] == "tls_failed" && line.value()["reason"] == "no_answer",
    )?;
    agent.wait_for_window(SystemTime::now(), 1)?;
    let lines = agent.stop()?;
    stream::ensure_counted(
        &lines,
        "quic_no_answer",
        1,
        growth(&lines, "L6", "quic_no_answer"),
    )?;
    stream::ensure_none_in_flight(&lines, "L6", "quic_handshake")
}
