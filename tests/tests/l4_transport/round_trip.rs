//! One connection that lives and sends over a wire with a known delay: its round-trip times are seen before it ends.

use std::time::Duration;

use anyhow::{Context as _, Result};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::delay::DelayedPair;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::Family;
use osi_tests::{counters, expect, load, report, scale};

/// Each way, on a machine at full speed.
const DELAY: Duration = Duration::from_millis(30);
const BYTES_PER_SECOND: u64 = 500_000;

#[test]
fn a_connection_is_measured_while_it_lives() -> Result<()> {
    let test = "l4_transport::round_trip::a_connection_is_measured_while_it_lives";
    let Some(_turn) = skip::ready_to_time(test, &[Need::Device("/dev/net/tun")])? else {
        return Ok(());
    };
    let delay = scale::patience(DELAY);
    let pair = DelayedPair::build(delay)?;
    let target = DelayedPair::server_at(Family::V4, 7);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let agent = Agent::watch(&pair.client)?;
    let rate = scale::rate(BYTES_PER_SECOND);
    let stream = load::bulk(&pair.client, target, Duration::from_secs(12), Some(rate))?;

    let seen = agent.wait_for("the connection's round-trip time", INTERVAL * 10, |line| {
        line.is_fault_map() && line.latency("L4", "tcp_rtt", "count").unwrap_or(0) > 0
    })?;
    let lives = counters::details(&pair.client, &format!("dst {target}"))?;
    let least = lives
        .split_whitespace()
        .find_map(|word| word.strip_prefix("minrtt:")?.parse::<f64>().ok())
        .with_context(|| format!("ss shows no minrtt: {lives}"))?;
    agent.ensure(!stream.is_finished(), || {
        "the connection ended before it was measured".to_owned()
    })?;
    let figure = |signal| {
        seen.latency("L4", signal, "p50_ns")
            .map_or(0.0, |ns| ns as f64 / 1e6)
    };
    let (told_least, told) = (figure("tcp_rtt_least"), figure("tcp_rtt"));
    let wire = (delay * 2).as_secs_f64() * 1000.0;
    // The bucket's upper bound, which is at most 9 % above; the least may have fallen since.
    let sentence = format!(
        "the wire takes {wire} ms, ss shows a least of {least} ms, the agent {told_least} ms of {told} ms"
    );
    agent.ensure(
        told_least >= least && told_least < least * 1.5 && least >= wire && told >= told_least,
        || sentence.clone(),
    )?;
    report::say("compared", &sentence)?;
    stream.join()?;
    drop(server);
    expect::calm(agent).map(drop)
}
