//! Link saturated → its queue drops → segments are sent again → requests over HTTP wait, in the queue and for what was dropped.
//!
//! First evidence: the shaper makes the first packet wait for tokens.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::http::stay;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::tc::Shaper;
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, load, scale, wait};

use super::told;

const EXPECTED: Expected = Expected {
    cause: "link_saturated",
    layer: "L1",
    within: STATISTICAL,
    // Until the link has been full for some windows.
    beside: &[
        "egress_queue_overflow",
        "packet_loss",
        "http_slow",
        "dependency_slow",
    ],
};

/// So little that slow machines fill it, too.
const RATE_BITS_PER_S: u64 = 4_000_000;
/// Packets that may wait: fewer than so many streams send, and at this rate each waits for a third of a second.
const QUEUE: u32 = 120;
const STREAMS: usize = 64;
const DURATION: Duration = Duration::from_secs(14);
/// On connections that stay open; of these requests most are for the healthy windows.
const CLIENTS: usize = 6;
const REQUESTS: u64 = 120;
const PER_SECOND: u32 = 5;
const LEARNT: usize = 10;

#[test]
fn link_saturated() -> Result<()> {
    let test = "cascades::link_saturated::link_saturated";
    let needs = ["tc", "nstat", "nginx", "curl"].map(Need::Program);
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let (bulk, web) = (
        Pair::server_at(Family::V4, 7),
        Pair::server_at(Family::V4, 80),
    );
    let server = Server::start(&pair.server, bulk, Behaviour::Sink)?;
    let _nginx = Nginx::start(&pair.server, web)?;
    // The shaper divides by how slow the machine is.
    let slower = scale::patience(Duration::from_secs(1)).as_secs();
    let rate = RATE_BITS_PER_S * slower;
    let shaper = Shaper::cap(&pair.client, "eth0", rate, "16kb", "300kb")?;
    shaper.drops_the_oldest(QUEUE)?;
    let agent = Agent::watch(&pair.client)?;
    let clients = (0..CLIENTS).map(|_| stay(&pair.client, web, REQUESTS, PER_SECOND));
    let clients = clients.collect::<Result<Vec<_>>>()?;
    agent.wait_for_window(SystemTime::now(), LEARNT)?;

    let waited = || -> Result<u64> { Ok(shaper.counts()?.overlimits) };
    let before = waited()?;
    let fault = SystemTime::now();
    let streams = (0..STREAMS)
        .map(|_| load::bulk(&pair.client, bulk, DURATION, None))
        .collect::<Result<Vec<_>>>()?;
    let patience = Duration::from_secs(5);
    let evidence = wait::until_above("packets that waited", before, patience, waited)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    told(
        &agent,
        EXPECTED.cause,
        &["egress_queue_overflow", "packet_loss", "http_slow"],
    )?;
    let again = counters::snmp(&pair.client, "TcpRetransSegs")?;
    ensure!(again > 0, "no segment was sent again");

    // Some of them may not have got in, through such a queue.
    let carried = streams.into_iter().filter_map(|stream| stream.join().ok());
    let carried = carried.count();
    ensure!(carried > STREAMS / 2, "{carried} streams got in");
    shaper.remove()?;
    for client in clients {
        let answered = client.join()?;
        ensure!(answered == REQUESTS, "{answered} of {REQUESTS} answers");
    }
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}
