//! A router drops SYNs without a word, outside the namespace that is watched.
//!
//! First evidence: the first SYN that is sent again, 1 s after the connect.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::nft::DropRule;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, load, wait};

const EXPECTED: Expected = Expected {
    cause: "handshake_timeout",
    layer: "L4",
    within: STATISTICAL,
    beside: &[],
};

/// All at once, so that their SYNs are sent again at once.
const CONNECTS: u64 = 10;

#[test]
fn handshake_timeout() -> Result<()> {
    scenario(
        "l4_transport::handshake_timeout::handshake_timeout",
        Family::V4,
    )
}

#[test]
fn handshake_timeout_v6() -> Result<()> {
    scenario(
        "l4_transport::handshake_timeout::handshake_timeout_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    // Alone: the busier process 1 is, the more retransmits some kernels hide (`osi_tests::hidden`).
    let needs = [Need::Program("nft"), Need::Program("nstat")];
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(family, 7);
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    let rule = DropRule::add(&lab.router, "forward", "tcp dport 7")?;
    let patience = Duration::from_millis(5500);
    let connects = load::connect_all_at_once(&lab.client, target, CONNECTS, patience)?;
    let again = || counters::snmp(&lab.client, "TcpExtTCPSynRetrans");
    let evidence = wait::until_above("SYNs sent again", 0, Duration::from_secs(3), again)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let remote = &map.verdict()["scope"]["remote"];
    agent.ensure(*remote == target.ip().to_string(), || {
        format!("{target} does not answer, not {remote}")
    })?;

    connects.join()?;
    rule.remove()?;
    let again = again()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let told = event_count(&lines, "retransmit", |_| true);
    stream::ensure(&lines, told == again, || {
        format!("{again} SYNs were sent again and the events count {told}")
    })?;
    Ok(())
}
