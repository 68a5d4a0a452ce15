//! Link saturated → its queue drops → segments are sent again.
//!
//! First evidence: the shaper makes the first packet wait for tokens.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::tc::Shaper;
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, load, wait};

use super::told;

const EXPECTED: Expected = Expected {
    cause: "link_saturated",
    layer: "L1",
    within: STATISTICAL,
    // Until the link has been full for some windows.
    beside: &["egress_queue_overflow", "packet_loss"],
};

const RATE_BITS_PER_S: u64 = 50_000_000;
/// Packets that may wait: fewer than so many streams send.
const QUEUE: u32 = 30;
const STREAMS: usize = 16;

#[test]
fn link_saturated() -> Result<()> {
    let test = "cascades::link_saturated::link_saturated";
    let Some(_turn) = skip::ready_to_time(test, &["tc", "nstat"].map(Need::Program))? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let shaper = Shaper::cap(&pair.client, "eth0", RATE_BITS_PER_S, "16kb", "300kb")?;
    shaper.drops_the_oldest(QUEUE)?;
    let agent = Agent::watch(&pair.client)?;

    let fault = SystemTime::now();
    let streams = (0..STREAMS)
        .map(|_| load::bulk(&pair.client, target, Duration::from_secs(14), None))
        .collect::<Result<Vec<_>>>()?;
    let waited = || Ok(shaper.counts()?.overlimits);
    let evidence = wait::until_above("packets that waited", 0, Duration::from_secs(5), waited)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    told(
        &agent,
        EXPECTED.cause,
        &["egress_queue_overflow", "packet_loss"],
    )?;
    let again = counters::snmp(&pair.client, "TcpRetransSegs")?;
    ensure!(again > 0, "no segment was sent again");

    for stream in streams {
        stream.join()?;
    }
    shaper.remove()?;
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}
