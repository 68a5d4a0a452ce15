//! A pool of ports fills: from its half on the kernel passes over thousands of taken ports before it finds a free one, and the
//! warning says how much longer that takes than it did.
//!
//! First evidence: four fifths of the ports are in use.

use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, HARD};
use osi_tests::lab_program::Holder;
use osi_tests::server::listen;
use osi_tests::skip;
use osi_tests::stream::{self, Line, rows};
use osi_tests::topology::{Family, Pair};

const EXPECTED: Expected = Expected {
    cause: "ephemeral_ports_exhausted",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const SIGNAL: &str = "tcp_port_search";
/// Ports of the range; every other one is tried first.
const PORTS: u64 = 4000;
/// Windows in which the usual time is learned, and connects in each of them.
const WINDOWS: u64 = 6;
const FEW: u64 = 25;
/// Processes that take four fifths of the range, and connections of each: fewer than a process may have descriptors.
const HOLDERS: u64 = 4;
const EACH: u64 = 775;
/// Connects to the pool that is nearly full.
const LATE: u64 = 100;

#[test]
fn searches_get_long_while_a_pool_fills() -> Result<()> {
    let test = "l4_transport::port_search::searches_get_long_while_a_pool_fills";
    let Some(_turn) = skip::ready_to_time(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    pair.client.give_out_ports(PORTS)?;
    // The accepting ends wait in the listener's queue.
    pair.server.set_sysctl("net/core/somaxconn", "65535")?;
    let _listener = listen(&pair.server, target, 65_535)?;
    let agent = Agent::watch(&pair.client)?;
    let probe = agent.probe("tcp_connect")?;
    if probe["state"] != "active" || probe["variant"] == "state_change" {
        agent.stop()?;
        return skip::skip(test, &format!("no search is timed: {}", probe["reason"]));
    }
    let hold = |connections| -> Result<Holder> {
        let program = env!("CARGO_BIN_EXE_hold-connections");
        let holder = Holder::start(&pair.client, program, target, connections)?;
        ensure!(holder.held == connections, "{} are held", holder.held);
        Ok(holder)
    };

    let mut holders = Vec::new();
    for _ in 0..WINDOWS {
        holders.push(hold(FEW)?);
        agent.wait_for_window(SystemTime::now(), 1)?;
    }
    let fault = SystemTime::now();
    for _ in 0..HOLDERS {
        holders.push(hold(EACH)?);
    }
    EXPECTED.named(&agent, fault, SystemTime::now())?;
    agent.wait_for_window(SystemTime::now(), 1)?;
    let late = SystemTime::now();
    holders.push(hold(LATE)?);
    let seen = agent.wait_for("the search as evidence", INTERVAL * 4, |line| {
        line.cause() == Some(EXPECTED.cause)
            && line.time().is_ok_and(|time| time >= late)
            && evidence(line).is_some()
    })?;
    let told = evidence(&seen).context("no evidence")?;

    drop(holders);
    let lines = EXPECTED.stop(agent)?;
    let made = WINDOWS * FEW + HOLDERS * EACH + LATE;
    let searches = stream::handshakes(&lines, SIGNAL);
    stream::ensure_counted(&lines, "searches for a port", made, searches)?;
    let median = |line: &Line| line.latency("L4", SIGNAL, "p50_ns");
    let mut medians = lines.iter().filter_map(median).filter(|ns| *ns > 0);
    let (first, last) = (medians.next(), medians.next_back());
    let (first, last) = (
        first.context("no first window")?,
        last.context("no last window")?,
    );
    stream::ensure(&lines, last > 2 * first, || {
        format!(
            "the median search took {first} ns in an empty pool of {PORTS}, and {last} ns in one that is nearly full; {told}"
        )
    })
}

/// The time of the searches as a warning tells it, in words.
fn evidence(map: &Line) -> Option<String> {
    let mut rows = rows(map.verdict(), "evidence");
    let row = rows.find(|row| row["signal"] == SIGNAL)?;
    Some(format!("{} ns, {}", row["value"], row["why"].as_str()?))
}
