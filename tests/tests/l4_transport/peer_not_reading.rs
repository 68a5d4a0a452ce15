//! A server that never reads: the client fills its receive window and then waits.
//!
//! First evidence: the first probe of the closed window (`TCPWinProbe`), one retransmission time-out after the last byte.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::netns::Namespace;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, unread, wait};

const EXPECTED: Expected = Expected {
    cause: "peer_not_reading",
    layer: "L4",
    within: STATISTICAL,
    beside: &[],
};

const PORT: u16 = 7;

#[test]
fn peer_not_reading() -> Result<()> {
    scenario(
        "l4_transport::peer_not_reading::peer_not_reading",
        Family::V4,
    )
}

#[test]
fn peer_not_reading_v6() -> Result<()> {
    scenario(
        "l4_transport::peer_not_reading::peer_not_reading_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(family, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Hold)?;
    let agent = Agent::watch(&pair.client)?;
    let reader = Agent::watch(&pair.server)?;

    let fault = SystemTime::now();
    let stream = unread::filled(&pair.client, target)?;
    let probes = || counters::snmp(&pair.client, "TcpExtTCPWinProbe");
    let evidence = wait::until_above("window probes", 0, Duration::from_secs(5), probes)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    let verdict = map.verdict();
    let scope = &verdict["scope"];
    agent.ensure(
        scope["remote"] == target.ip().to_string() && scope["port"] == PORT,
        || format!("{target} does not read, not {scope}"),
    )?;
    let (unsent, timer) = waiting(&pair.client, target)?;
    let told = map.evidence("unsent");
    stream::ensure(
        &agent.lines(),
        told == Some(unsent as f64) && timer.contains("persist"),
        || format!("ss shows {unsent} bytes in Send-Q with {timer}, and the agent {told:?}"),
    )?;

    drop(stream);
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    let sent = probes()?;
    let lines = EXPECTED.stop(agent)?;
    let counted = growth(&lines, "L4", "window_probes");
    stream::ensure(&lines, counted == sent, || {
        format!("nstat counts {sent} window probes and the agent {counted}")
    })?;

    let closed = counters::snmp(&pair.server, "TcpExtTCPToZeroWindowAdv")?;
    let lines = reader.stop()?;
    let counted = growth(&lines, "L4", "zero_windows_sent");
    stream::ensure(&lines, counted == closed && closed > 0, || {
        format!("nstat counts {closed} closed windows on the reader's side and the agent {counted}")
    })
}

/// Send-Q and timer of the connection, as `ss` shows them.
fn waiting(host: &Namespace, target: SocketAddr) -> Result<(u64, String)> {
    let text = counters::timers(host, &format!("dst {target}"))?;
    let mut words = text.split_whitespace();
    let unsent = words.nth(1).and_then(|word| word.parse().ok());
    let timer = words.nth(2).unwrap_or_default().to_owned();
    Ok((unsent.with_context(|| format!("ss shows {text:?}"))?, timer))
}
