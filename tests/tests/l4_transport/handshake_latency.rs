//! Handshakes over a wire with known delays: both ends must measure what the wire takes and what the connecting program waits,
//! by every way of hooking the connect.
//!
//! Each step is within one window, so that the window's quantiles are those of the step: three handshakes in a hundred are slow,
//! and the median and the 99th percentile are far apart.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use osi_tests::agent::Agent;
use osi_tests::delay::DelayedPair;
use osi_tests::grid::{COARSE, FINE, Waits, agree};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, rows};
use osi_tests::topology::Family;
use osi_tests::variant::Choice;
use osi_tests::{expect, scale};
use serde_json::Value;

const NEEDS: &[Need] = &[Need::Device("/dev/net/tun")];
const PORT: u16 = 7;
/// Handshakes in a step, and how many of them are slow.
const USUAL: u64 = 97;
const SLOW: u64 = 3;
const PER_SECOND: u64 = 60;
/// A SYN is sent again after a second, and a slow handshake takes less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Two agents begin their windows some seconds apart, and a step must lie within one window of each.
const WINDOW: Duration = Duration::from_secs(10);

/// Delays each way.
#[derive(Clone, Copy, Debug)]
struct Step {
    usual: Duration,
    slow: Duration,
}

const fn step(usual_ms: u64, slow_ms: u64) -> Step {
    Step {
        usual: Duration::from_millis(usual_ms),
        slow: Duration::from_millis(slow_ms),
    }
}

/// Shortest last: the ways of hooking are compared on the first.
const STEPS: &[Step] = &[step(20, 80), step(80, 200), step(5, 20)];
/// The wire is a program, and on an emulated machine each packet waits some milliseconds for its turn: there only delays that
/// are large against them are known ones.
const EMULATED: &[Step] = &[step(100, 200), step(200, 380)];

fn steps() -> &'static [Step] {
    if scale::is_slow() { EMULATED } else { STEPS }
}

#[test]
fn both_ends_measure_the_delay() -> Result<()> {
    let test = "l4_transport::handshake_latency::both_ends_measure_the_delay";
    // Alone: a handshake of ten milliseconds has less than one for the turns of the threads that carry it.
    match skip::ready_alone(test, NEEDS)? {
        Some(_turn) => measured(test, None, steps()),
        None => Ok(()),
    }
}

#[test]
fn by_fentry() -> Result<()> {
    by("l4_transport::handshake_latency::by_fentry", "fentry")
}

#[test]
fn by_kprobe() -> Result<()> {
    by("l4_transport::handshake_latency::by_kprobe", "kprobe")
}

#[test]
fn by_sock_ops() -> Result<()> {
    by("l4_transport::handshake_latency::by_sock_ops", "sock_ops")
}

#[test]
fn by_state_change() -> Result<()> {
    by(
        "l4_transport::handshake_latency::by_state_change",
        "state_change",
    )
}

fn by(test: &str, variant: &str) -> Result<()> {
    match skip::ready_to_time(test, NEEDS)? {
        Some(_turn) => measured(test, Some(variant), &steps()[..1]),
        None => Ok(()),
    }
}

/// One end of the handshakes.
struct Side {
    agent: Agent,
    signal: &'static str,
    /// By whom its handshakes are told apart.
    scope: &'static str,
}

/// The same traffic, the same count and the same delays, with this variant of the probe or with the best that there is.
fn measured(test: &str, variant: Option<&str>, steps: &[Step]) -> Result<()> {
    let choice = Choice::new("tcp_connect", variant);
    let pair = DelayedPair::build(Duration::ZERO)?;
    let target = DelayedPair::server_at(Family::V4, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let sides = watch_both(&pair, &choice.options())?;
    if let Some(refusal) = choice.refused(&sides[0].agent)? {
        return skip::skip(test, &refusal);
    }

    // Both have told their first window, and the later one has done so just now.
    for (window, step) in (2..).zip(steps) {
        let waited = connect(&pair, target, *step)?;
        for side in &sides {
            side.agrees(window, *step, &waited)?;
        }
    }
    drop(server);
    for Side { agent, signal, .. } in sides {
        let lines = expect::calm(agent)?;
        let count = stream::handshakes(&lines, signal);
        stream::ensure_counted(&lines, signal, (USUAL + SLOW) * steps.len() as u64, count)?;
        let windows = lines.iter().filter(|line| has_any(line, signal)).count();
        stream::ensure(&lines, windows == steps.len(), || {
            format!("{} steps were counted in {windows} windows", steps.len())
        })?;
    }
    Ok(())
}

/// Both agents, started at once.
fn watch_both(pair: &DelayedPair, options: &[&str]) -> Result<[Side; 2]> {
    let interval = scale::patience(WINDOW);
    let hosts = [&pair.client, &pair.server];
    let [client_side, server_side] = Agent::watch_both(hosts, interval, options)?;
    Ok([
        Side {
            agent: client_side,
            signal: "tcp_handshake_client",
            scope: "peer",
        },
        Side {
            agent: server_side,
            signal: "tcp_handshake_server",
            scope: "listener",
        },
    ])
}

/// Makes the handshakes of a step; how long the program that connects waited for each, in nanoseconds.
fn connect(pair: &DelayedPair, target: SocketAddr, step: Step) -> Result<Histogram<u64>> {
    let mut waited = Histogram::new(3)?;
    for (delay, connections) in [(step.usual, USUAL), (step.slow, SLOW)] {
        pair.set_delay(delay);
        let plan = Plan {
            target,
            connections,
            per_second: PER_SECOND,
            connect_timeout: CONNECT_TIMEOUT,
            exchange: Exchange::None,
        };
        let report = load::connections(&pair.client, plan)?.join()?;
        ensure!(report.connected == connections, "{:?}", report.errors);
        waited.add(&report.connect_ns)?;
    }
    Ok(waited)
}

impl Side {
    /// The quantiles of a window are those of what the program waited, see [`agree`].
    fn agrees(&self, window: u64, step: Step, waited: &Histogram<u64>) -> Result<()> {
        let Self {
            agent,
            signal,
            scope,
        } = self;
        let line = agent.wait_for("the step's window", WINDOW * 2, |line| {
            line.is_fault_map() && line.value()["seq"] == window
        })?;
        let of_host = &line.layer("L4")["latency"][*signal];
        let of_scope = rows(line.layer("L4"), "latency_by_scope")
            .find(|row| row["id"] == *signal && row["scope"]["kind"] == *scope)
            .unwrap_or(&Value::Null);
        for (figure, quantile, delay) in [("p50_ns", 0.5, step.usual), ("p99_ns", 0.99, step.slow)]
        {
            let wire = (delay * 2).as_nanos() as u64;
            let program = waited.value_at_quantile(quantile);
            for (whose, row, an_octave) in [("host", of_host, FINE), (*scope, of_scope, COARSE)] {
                let told = row[figure].as_u64().unwrap_or(0);
                let waits = Waits {
                    least: wire,
                    client: program,
                    agent: told,
                };
                let what = format!("{signal} {figure} of the {whose}");
                agree(agent, &what, waits, an_octave)?;
            }
        }
        Ok(())
    }
}

fn has_any(line: &Line, signal: &str) -> bool {
    line.is_fault_map() && line.latency("L4", signal, "count").unwrap_or(0) > 0
}
