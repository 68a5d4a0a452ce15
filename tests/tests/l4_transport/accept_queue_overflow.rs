//! A server with a backlog of 1 does not accept.
//!
//! Two connections fill the queue (backlog + 1), or three: the kernel looks whether there is room before it adds, and two
//! CPUs may look at once. First evidence: the first `ListenOverflows` of the SYNs that find it full.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::server::listen;
use osi_tests::skip::{self, Need};
use osi_tests::stream::rows;
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, load, wait};

const EXPECTED: Expected = Expected {
    cause: "accept_queue_overflow",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const PORT: u16 = 7;

#[test]
fn accept_queue_overflow() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l4_transport::accept_queue_overflow::accept_queue_overflow",
        &[Need::Program("nstat")],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let listener = listen(&pair.server, target, 1)?;
    let agent = Agent::watch(&pair.server)?;

    let fault = SystemTime::now();
    let connects =
        load::connect_all_at_once(&pair.client, target, 10, Duration::from_millis(3500))?;
    let overflows = || counters::snmp(&pair.server, "TcpExtListenOverflows");
    let evidence = wait::until_above("overflows", 0, Duration::from_secs(2), overflows)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    let scope = &map.verdict()["scope"];
    agent.ensure(scope["kind"] == "listener" && scope["port"] == PORT, || {
        format!("the listener on port {PORT} overflows, not {scope}")
    })?;
    let waiting = counters::accept_queue(&pair.server, PORT)?;
    ensure!((2..=3).contains(&waiting), "{waiting} connections wait");
    let full = rows(map.layer("L4"), "meters").any(|row| {
        row["scope"]["kind"] == "listener"
            && row["scope"]["port"] == PORT
            && row["used"].as_f64() == Some(waiting as f64)
            && row["capacity"] == 2.0
    });
    agent.ensure(full, || {
        format!(
            "no meter shows the queue of port {PORT} as {waiting} of 2: {}",
            map.layer("L4")["meters"]
        )
    })?;

    connects.join()?;
    drop(listener);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}
