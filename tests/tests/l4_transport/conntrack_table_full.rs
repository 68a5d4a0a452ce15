//! A router tracks as many connections as its table takes, and clients want more.
//!
//! Every namespace is watched: the root is the router's table, and that the clients get no answer is its symptom.
//! First evidence: the first SYN that connection tracking drops.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::machine::Setting;
use osi_tests::nft::Tracking;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Routed};
use osi_tests::{load, wait};

use crate::cascades::told;

const EXPECTED: Expected = Expected {
    cause: "conntrack_table_full",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const SETTING: &str = "net/netfilter/nf_conntrack_max";
const LIMIT: u64 = 32;
const CONNECTS: u64 = 60;

#[test]
fn conntrack_table_full() -> Result<()> {
    let Some(_turn) = skip::ready_alone(
        "l4_transport::conntrack_table_full::conntrack_table_full",
        &[
            Need::Program("nft"),
            Need::OwnMachine("net.netfilter.nf_conntrack_max"),
        ],
    )?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, 7);
    let server = Server::start(&lab.server, target, Behaviour::Hold)?;
    let tracking = Tracking::add(&lab.router, 7)?;
    let agent = Agent::watch_all()?;

    let fault = SystemTime::now();
    let full = Setting::change(SETTING, &LIMIT.to_string())?;
    let patience = Duration::from_millis(7500);
    let connects = load::connect_all_at_once(&lab.client, target, CONNECTS, patience)?;
    let dropped = || tracking.dropped();
    let evidence = wait::until_above("dropped SYNs", 0, Duration::from_secs(3), dropped)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(scope["netns"]["name"] == lab.router.name(), || {
        format!("the table of the router is full, not {scope}")
    })?;
    told(&agent, EXPECTED.cause, &["handshake_timeout"])?;

    let report = connects.join()?;
    full.restore()?;
    agent.ensure(report.connected <= LIMIT, || {
        format!("{} connections are in a table of {LIMIT}", report.connected)
    })?;
    EXPECTED.resolves(&agent, &map)?;
    drop(server);
    let truth = dropped()?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L4", "conntrack_drops");
    stream::ensure(&lines, truth > 0 && said == truth, || {
        format!("nft counts {truth} SYNs that connection tracking dropped and the agent {said}")
    })
}
