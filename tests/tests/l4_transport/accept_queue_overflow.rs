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
use osi_tests::stream::{self, event_count, rows};
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
    // The last overflows are told while the queue is still there.
    agent.wait_for_window(SystemTime::now(), 1)?;
    drop(listener);
    EXPECTED.resolves(&agent, &map)?;
    let dropped = overflows()?;
    let lines = EXPECTED.stop(agent)?;
    let told = event_count(&lines, "accept_overflow", |_| true);
    // Which listener it was is only known while its queue is full: a late copy of an acknowledgement may come when it is not.
    let of_port = event_count(&lines, "accept_overflow", |event| {
        event["flow"]["src"] == target.ip().to_string() && event["flow"]["sport"] == PORT
    });
    stream::ensure(&lines, told == dropped && of_port > 0, || {
        format!("nstat counts {dropped} overflows and the events {told}, {of_port} of port {PORT}")
    })
}
