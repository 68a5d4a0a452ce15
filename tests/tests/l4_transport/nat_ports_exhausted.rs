//! A router translates to one address and ten ports, and a client wants more connections to one server than that.
//!
//! First evidence: the first connection that is tried to be translated when ten already are.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::nft::SourceNat;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Routed};
use osi_tests::{load, wait};

const EXPECTED: Expected = Expected {
    cause: "nat_ports_exhausted",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const PORTS: u64 = 10;
const CONNECTS: u64 = 40;

#[test]
fn nat_ports_exhausted() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l4_transport::nat_ports_exhausted::nat_ports_exhausted",
        &[Need::Program("nft")],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, 7);
    let server = Server::start(&lab.server, target, Behaviour::Hold)?;
    let to = format!("10.2.0.1:40000-{}", 40_000 + PORTS - 1);
    let nat = SourceNat::add(&lab.router, Routed::EAST, &to)?;
    let agent = Agent::watch(&lab.router)?;

    let fault = SystemTime::now();
    let patience = Duration::from_millis(5500);
    let connects = load::connect_all_at_once(&lab.client, target, CONNECTS, patience)?;
    let tried = || nat.attempts();
    let evidence = wait::until_above("attempts", PORTS, Duration::from_secs(3), tried)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let summary = map.verdict()["summary"].as_str().context("no summary")?;
    agent.ensure(
        summary.contains(&format!("from 10.2.0.1 to {target}")),
        || format!("the verdict does not name the pool: {summary}"),
    )?;

    let report = connects.join()?;
    agent.ensure(report.connected == PORTS, || {
        format!("{PORTS} ports were enough for {}", report.connected)
    })?;
    EXPECTED.resolves(&agent, &map)?;
    drop(server);
    let truth = nat.attempts()? - PORTS;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L4", "conntrack_insert_failures");
    let without_room = growth(&lines, "L4", "conntrack_drops");
    stream::ensure(&lines, said == truth && without_room == 0, || {
        format!(
            "nft counts {truth} packets that could not be translated, the agent {said} and {without_room} without room"
        )
    })
}
