//! The first SYN of each connect is lost at a router: TCP sends it again after a second, and that time is told apart from what
//! the way takes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::grid::{FINE, bucket};
use osi_tests::load::{self, Plan};
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream;
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, scale};

/// Connects that lose their SYN, and those before them that lose nothing.
const CONNECTS: u64 = 20;
const QUICK: u64 = 50;
/// After which TCP sends a SYN again, in nanoseconds.
const TIMER_NS: u64 = 1_000_000_000;
const PATIENCE: Duration = Duration::from_secs(5);
const SIGNAL: &str = "tcp_handshake_retried";

#[test]
fn a_lost_syn_costs_a_second() -> Result<()> {
    let test = "l4_transport::handshake_retried::a_lost_syn_costs_a_second";
    let needs = ["nft", "nstat"].map(Need::Program);
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, 7);
    let _server = Server::start(&lab.server, target, Behaviour::Sink)?;
    let agent = Agent::watch(&lab.client)?;
    let quick = load::connections(&lab.client, Plan::connects(target, QUICK, 100))?.join()?;
    let first =
        format!("tcp dport 7 tcp flags & (syn | ack) == syn numgen inc mod 1000000 < {CONNECTS}");
    let rule = DropRule::add(&lab.router, "forward", &first)?;
    let patience = scale::patience(PATIENCE);
    let report = load::connect_all_at_once(&lab.client, target, CONNECTS, patience)?.join()?;
    let dropped = rule.remove()?;
    let again = counters::snmp(&lab.client, "TcpExtTCPSynRetrans")?;
    ensure!(
        (dropped, again, report.connected) == (CONNECTS, CONNECTS, CONNECTS),
        "{dropped} SYNs were dropped, {again} sent again, and {} connects succeeded",
        report.connected
    );

    let lines = agent.stop()?;
    let retried = stream::handshakes(&lines, SIGNAL);
    stream::ensure_counted(&lines, "connects whose SYN was lost", CONNECTS, retried)?;
    let all = stream::handshakes(&lines, "tcp_handshake_client");
    stream::ensure_counted(&lines, "connects", quick.connected + CONNECTS, all)?;
    let most = lines
        .iter()
        .filter(|line| line.is_fault_map())
        .max_by_key(|line| line.latency("L4", SIGNAL, "count"));
    let told = most.and_then(|map| map.latency("L4", SIGNAL, "p50_ns"));
    let told = told.context("no window has a median")?;
    let taken = report.connect_ns.value_at_quantile(0.5);
    let [timer, at, beside] = [TIMER_NS, told, taken].map(|ns| bucket(ns, FINE));
    stream::ensure(&lines, at >= timer && at.abs_diff(beside) <= 1, || {
        format!(
            "half of the connects took {taken} ns at most, and the agent says {told}: bucket {beside} beside {at}"
        )
    })
}
