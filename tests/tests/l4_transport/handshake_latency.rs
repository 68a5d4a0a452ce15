//! Handshakes over a wire with a known delay: both ends must measure it, by every way of hooking the connect.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::delay::DelayedPair;
use osi_tests::expect;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::scale;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, sum};
use osi_tests::topology::Family;

/// Each way, on a machine at full speed.
const DELAY: Duration = Duration::from_millis(30);
/// Buckets are 9 % wide and scheduling adds to the wire.
const TOLERANCE: f64 = 1.25;
/// The same where the wire, which is a program, waits for its turn.
const SLOW_TOLERANCE: f64 = 2.0;
const CONNECTIONS: u64 = 100;

#[test]
fn both_ends_measure_the_delay() -> Result<()> {
    measured(
        "l4_transport::handshake_latency::both_ends_measure_the_delay",
        None,
    )
}

#[test]
fn by_fentry() -> Result<()> {
    measured("l4_transport::handshake_latency::by_fentry", Some("fentry"))
}

#[test]
fn by_kprobe() -> Result<()> {
    measured("l4_transport::handshake_latency::by_kprobe", Some("kprobe"))
}

#[test]
fn by_sock_ops() -> Result<()> {
    measured(
        "l4_transport::handshake_latency::by_sock_ops",
        Some("sock_ops"),
    )
}

#[test]
fn by_state_change() -> Result<()> {
    measured(
        "l4_transport::handshake_latency::by_state_change",
        Some("state_change"),
    )
}

/// The same traffic, the same count and the same delay, with this variant of the probe or with the best that there is.
fn measured(test: &str, variant: Option<&str>) -> Result<()> {
    let Some(_turn) = skip::ready_to_time(test, &[Need::Device("/dev/net/tun")])? else {
        return Ok(());
    };
    let forced = variant.map(|variant| format!("tcp_connect={variant}"));
    let options: Vec<_> = forced
        .iter()
        .flat_map(|forced| ["--probe-variant", forced])
        .collect();
    let delay = scale::patience(DELAY);
    let pair = DelayedPair::build(delay)?;
    let target = DelayedPair::server_at(Family::V4, 7);
    let server = Server::start(&pair.server, target, Behaviour::Echo)?;
    let client_side = Agent::watch_with(&pair.client, &options)?;
    let probe = client_side.probe("tcp_connect")?;
    if probe["state"] != "active" {
        let reason = probe["reason"].as_str().unwrap_or("it does not say why");
        return skip::skip(test, &format!("this kernel refuses it: {reason}"));
    }
    client_side.ensure(
        variant.is_none_or(|variant| probe["variant"] == variant),
        || format!("{variant:?} was forced, and the probe is {probe}"),
    )?;
    let server_side = Agent::watch(&pair.server)?;

    let plan = Plan {
        target,
        connections: CONNECTIONS,
        // The echo server serves one connection at a time, and each takes a round trip.
        per_second: 10,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let report = load::connections(&pair.client, plan)?.join()?;
    let ended = SystemTime::now();
    drop(server);
    anyhow::ensure!(report.completed == CONNECTIONS, "{:?}", report.errors);

    let tolerance = if scale::is_slow() {
        SLOW_TOLERANCE
    } else {
        TOLERANCE
    };
    for (agent, signal) in [
        (client_side, "tcp_handshake_client"),
        (server_side, "tcp_handshake_server"),
    ] {
        agent.wait_for_window(ended, 2)?;
        let lines = expect::calm(agent)?;
        let count = sum(&lines, |map| {
            map.latency("L4", signal, "count").unwrap_or(0)
        });
        stream::ensure_counted(&lines, signal, CONNECTIONS, count)?;
        let expected = (delay * 2).as_nanos() as f64;
        let mut medians: Vec<_> = lines
            .iter()
            .filter_map(|line| median(line, signal))
            .map(|median| median as f64)
            .collect();
        medians.sort_by(f64::total_cmp);
        // No window measures less than the wire takes, and the usual one measures the wire; on a slow machine, the best one.
        let best = medians.first().copied().unwrap_or_default();
        let usual = medians.get(medians.len() / 2).copied().unwrap_or_default();
        let told = if scale::is_slow() { best } else { usual };
        stream::ensure(
            &lines,
            best >= expected && told < expected * tolerance,
            || format!("{signal}: round trips of {expected} ns were measured as {medians:?} ns"),
        )?;
    }
    Ok(())
}

fn median(line: &Line, signal: &str) -> Option<u64> {
    if line.is_fault_map() {
        line.latency("L4", signal, "p50_ns")
    } else {
        None
    }
}
