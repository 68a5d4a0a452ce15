//! A ring that is really full: examples are lost and said to be, and not one occurrence is.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Plan};
use osi_tests::netns::Namespace;
use osi_tests::skip;
use osi_tests::stream::{self, event_count, rows, stats};

const NAMESPACES: u64 = 200;
/// As many connects as a window wants examples of, whichever CPU they come by.
const CONNECTS: u64 = 4;
/// What a refused connect on one host is: a packet dropped, a reset sent, a reset received, a connect failed.
const KINDS: [&str; 4] = ["drop", "reset_sent", "reset_received", "connect_failed"];
/// The ring has room for 2,340 examples of 104 bytes and 8 of its own.
const WANTED: u64 = NAMESPACES * CONNECTS * KINDS.len() as u64;
/// Examples that the machine itself may ask for meanwhile.
const OTHERS: u64 = 16;

#[test]
fn a_full_ring_loses_examples_and_says_how_many() -> Result<()> {
    let test = "safety::ring::a_full_ring_loses_examples_and_says_how_many";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let hosts = (0..NAMESPACES)
        .map(|_| Namespace::create("one"))
        .collect::<Result<Vec<_>>>()?;
    let agent = Agent::watch_all()?;
    // Every namespace must be known, or its events have nowhere to belong.
    agent.wait_for_window(SystemTime::now(), 2)?;
    agent.pause()?;
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 81));
    for host in &hosts {
        let plan = Plan::connects(target, CONNECTS, 10_000);
        let report = load::connections(host, plan)?.join()?;
        let refused = report.errors_of(libc::ECONNREFUSED);
        ensure!(refused == CONNECTS, "{:?}", report.errors);
    }
    agent.resume()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;

    let ours = |event: &serde_json::Value| {
        let name = event["netns"]["name"].as_str();
        name.is_some_and(|name| hosts.iter().any(|host| host.name() == name))
    };
    for kind in KINDS {
        let told = event_count(&lines, kind, ours);
        stream::ensure(&lines, told == NAMESPACES * CONNECTS, || {
            format!(
                "{} connects were refused and the events count {told} of {kind}",
                NAMESPACES * CONNECTS
            )
        })?;
    }
    let shown = lines
        .iter()
        .filter(|line| ours(line.value()) && line.value()["flow"].is_object())
        .count() as u64;
    let stats = stats(&lines).next_back().context("no stats line came")?;
    let lost = stats.value()["lost_samples"]
        .as_u64()
        .context("stats tell no lost samples")?;
    stream::ensure(
        &lines,
        lost > 0 && (WANTED..=WANTED + OTHERS).contains(&(shown + lost)),
        || format!("{WANTED} examples were wanted, {shown} came and {lost} are said to be lost"),
    )?;
    let misses: u64 = rows(stats.value(), "probes")
        .filter_map(|probe| probe["misses"].as_u64())
        .sum();
    stream::ensure(
        &lines,
        misses == 0 && stats.lost_events() == Some(0),
        || format!("a full ring costs no occurrence: {stats}"),
    )
}
