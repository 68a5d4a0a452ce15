//! A wire that mixes up the order and loses nothing: what is sent again for it is needless, and no loss.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::delay::DelayedPair;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::Family;
use osi_tests::{counters, expect, load, scale};

/// Each way.
const DELAY: Duration = Duration::from_millis(10);
/// One packet in so many comes so much later.
const ONE_IN: u64 = 40;
const HELD_BACK: Duration = Duration::from_millis(8);
const BYTES_PER_SECOND: u64 = 1_000_000;

/// What acknowledgements show of the order, by SACK, time stamps, and neither.
const REORDERINGS: [&str; 3] = [
    "TcpExtTCPSACKReorder",
    "TcpExtTCPTSReorder",
    "TcpExtTCPRenoReorder",
];

#[test]
fn a_stream_in_another_order_loses_nothing() -> Result<()> {
    let test = "controls::order::a_stream_in_another_order_loses_nothing";
    let needs = [Need::Device("/dev/net/tun"), Need::Program("nstat")];
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let pair = DelayedPair::build(scale::patience(DELAY))?;
    pair.hold_back(ONE_IN, scale::patience(HELD_BACK));
    let target = DelayedPair::server_at(Family::V4, 7);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let sender = Agent::watch(&pair.client)?;
    let receiver = Agent::watch(&pair.server)?;
    let rate = scale::rate(BYTES_PER_SECOND);
    load::bulk(&pair.client, target, Duration::from_secs(8), Some(rate))?.join()?;
    drop(server);
    let now = SystemTime::now();
    sender.wait_for_window(now, 2)?;
    receiver.wait_for_window(now, 2)?;
    let mut reorderings = 0;
    for name in REORDERINGS {
        reorderings += counters::snmp(&pair.client, name)?;
    }
    let late = counters::snmp(&pair.server, "TcpExtTCPOFOQueue")?;
    let again = counters::snmp(&pair.client, "TcpRetransSegs")?;
    let needless = counters::snmp(&pair.client, "TcpExtTCPDSACKRecvSegs")?;
    ensure!(
        reorderings > 0 && late > 0,
        "the wire kept the order: {reorderings} and {late}"
    );
    let lines = expect::calm(sender)?;
    for (id, counted) in [
        ("reorderings", reorderings),
        ("segments_retransmitted", again),
        ("retransmits_needless", needless),
    ] {
        stream::ensure_counted(&lines, id, counted, growth(&lines, "L4", id))?;
    }
    // The wire loses nothing, and TCP soon learns to wait.
    stream::ensure(&lines, again == needless, || {
        format!("{again} segments were sent again, {needless} of them in vain")
    })?;
    let lines = expect::calm(receiver)?;
    let counted = growth(&lines, "L4", "out_of_order");
    stream::ensure_counted(&lines, "segments out of order", late, counted)
}
