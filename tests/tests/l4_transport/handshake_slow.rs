//! A wire becomes slow: handshakes take a hundred times as long as before, and none is sent again.
//!
//! First evidence: the first handshake over the slow wire.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::delay::DelayedPair;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count};
use osi_tests::topology::Family;

const EXPECTED: Expected = Expected {
    cause: "handshake_slow",
    layer: "L4",
    within: STATISTICAL,
    beside: &[],
};

const PORT: u16 = 7;
/// Each way. Slow is well below the second after which a SYN is sent again, on any machine.
const USUAL: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_millis(150);
/// Of the cause.
const BUDGET: Duration = Duration::from_millis(100);
/// Ten windows to learn from, ten to be slow in, and some to recover.
const CONNECTS: u64 = 600;
const PER_SECOND: u64 = 20;

#[test]
fn handshake_slow() -> Result<()> {
    let test = "l4_transport::handshake_slow::handshake_slow";
    let needs = [Need::Device("/dev/net/tun"), Need::Program("nstat")];
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let pair = DelayedPair::build(USUAL)?;
    let target = DelayedPair::server_at(Family::V4, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let client_side = Agent::watch(&pair.client)?;
    let server_side = Agent::watch(&pair.server)?;
    let load = load::connections(&pair.client, Plan::connects(target, CONNECTS, PER_SECOND))?;
    client_side.wait_for_window(SystemTime::now(), 10)?;

    let fault = SystemTime::now();
    pair.set_delay(SLOW);
    let evidence = fault + 2 * SLOW;
    let at_client = EXPECTED.named(&client_side, fault, evidence)?;
    let at_server = EXPECTED.named(&server_side, fault, evidence)?;
    let scope = &at_client.verdict()["scope"];
    client_side.ensure(
        scope["remote"] == target.ip().to_string() && scope["port"] == PORT,
        || format!("{target} is slow, not {scope}"),
    )?;
    let scope = &at_server.verdict()["scope"];
    server_side.ensure(scope["kind"] == "listener" && scope["port"] == PORT, || {
        format!("port {PORT} is slow, not {scope}")
    })?;
    // Buckets are 41 % wide.
    let told = at_client.verdict()["evidence"][0]["value"].as_f64();
    let wire = (2 * SLOW).as_nanos() as f64;
    client_side.ensure(told.is_some_and(|ns| ns >= wire), || {
        format!("no handshake was faster than {wire} ns, and the evidence is {told:?}")
    })?;

    pair.set_delay(USUAL);
    EXPECTED.resolves(&client_side, &at_client)?;
    EXPECTED.resolves(&server_side, &at_server)?;
    let report = load.join()?;
    ensure!(report.connected == CONNECTS, "{:?}", report.errors);
    drop(server);
    // What the wire made slow, and whatever may count as slow: a program waits at least as long as its handshake takes.
    let waited = |least: Duration| {
        let ns = least.as_nanos() as u64;
        report.connect_ns.count_between(ns, report.connect_ns.max())
    };
    let slow = waited(2 * SLOW)..=waited(BUDGET);
    for (agent, signal) in [
        (client_side, "tcp_handshake_client"),
        (server_side, "tcp_handshake_server"),
    ] {
        agent.wait_for_window(SystemTime::now(), 2)?;
        let lines = EXPECTED.stop(agent)?;
        let counted = stream::handshakes(&lines, signal);
        stream::ensure_counted(&lines, signal, CONNECTS, counted)?;
        let told = event_count(&lines, "handshake_slow", |event| {
            event["flow"]["dst"] == target.ip().to_string() && event["flow"]["dport"] == PORT
        });
        // Peers are those that are connected to: who accepts has none.
        let expected = if signal == "tcp_handshake_client" {
            slow.clone()
        } else {
            0..=0
        };
        stream::ensure(&lines, expected.contains(&told), || {
            format!(
                "the program waited {expected:?} times for long, and the events of {signal} count {told}"
            )
        })?;
    }
    Ok(())
}
