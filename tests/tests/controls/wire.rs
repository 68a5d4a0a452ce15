//! Wires that are slow, mix up the order or say things twice: TCP lives with that, and nothing is broken.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip;
use osi_tests::stream;
use osi_tests::tc;
use osi_tests::topology::{Family, Routed};

/// Longer than what an emulated machine adds by itself.
const DELAY: Duration = Duration::from_millis(200);
/// Buckets are 9 % wide and scheduling adds to the wire.
const TOLERANCE: f64 = 1.5;
const CONNECTIONS: u64 = 100;

#[test]
fn delay() -> Result<()> {
    scenario("controls::wire::delay", &["delay", "200ms"], DELAY)
}

#[test]
fn reorder() -> Result<()> {
    let wire = ["delay", "10ms", "reorder", "75%", "50%"];
    scenario("controls::wire::reorder", &wire, Duration::ZERO)
}

#[test]
fn duplicate() -> Result<()> {
    scenario(
        "controls::wire::duplicate",
        &["duplicate", "20%"],
        Duration::ZERO,
    )
}

/// Exchanges over a router that sends towards the server like this; handshakes take at least `delay`.
fn scenario(test: &str, wire: &[&str], delay: Duration) -> Result<()> {
    let Some(_turn) = skip::ready_to_time(test, &[])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    if tc::bad_wire(&lab.router, Routed::EAST, wire)?.is_none() {
        return skip::skip(test, "this kernel has no netem");
    }
    let target = Routed::server_at(Family::V4, 7);
    let server = Server::start(&lab.server, target, Behaviour::Echo)?;
    let agent = Agent::watch(&lab.client)?;
    let plan = Plan {
        target,
        connections: CONNECTIONS,
        per_second: 20,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let report = load::connections(&lab.client, plan)?.join()?;
    ensure!(report.completed == CONNECTIONS, "{:?}", report.errors);
    drop(server);
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = expect::calm(agent)?;
    let counted = stream::handshakes(&lines, "tcp_handshake_client");
    stream::ensure_counted(&lines, "handshakes", CONNECTIONS, counted)?;
    let least = delay.as_nanos() as f64;
    let medians = lines
        .iter()
        .filter(|line| line.is_fault_map())
        .filter_map(|line| line.latency("L4", "tcp_handshake_client", "p50_ns"));
    for median in medians.map(|median| median as f64) {
        let measured = least == 0.0 || (least..least * TOLERANCE).contains(&median);
        stream::ensure(&lines, measured, || {
            format!("the wire takes {least} ns and a handshake was measured as {median} ns")
        })?;
    }
    Ok(())
}
