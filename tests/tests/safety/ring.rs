//! A ring that is really full: examples are lost and said to be, and not one occurrence is.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Plan};
use osi_tests::netns::Namespace;
use osi_tests::stream::{self, event_count, stats};
use osi_tests::{kernel, scale, skip};

const NAMESPACES: u64 = 200;
/// As many connects as a window wants examples of, whichever CPU they come by.
const CONNECTS: u64 = 4;
/// What a refused connect on one host is: a packet dropped, a reset received, a connect failed, a reset sent.
///
/// The ring has room for 2,340 examples of 104 bytes and 8 of its own.
const KINDS: [&str; 4] = ["drop", "reset_received", "connect_failed", "reset_sent"];

#[test]
fn a_full_ring_loses_examples_and_says_how_many() -> Result<()> {
    let test = "safety::ring::a_full_ring_loses_examples_and_says_how_many";
    if !kernel::is_at_least(5, 17)? {
        let why =
            "before 5.17 a refused connect is no drop, and what else it is does not fill a ring";
        return skip::skip(test, why);
    }
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
    // Before 6.10 the kernel tells of the resets of sockets only, and a closed port has none.
    let kinds = if kernel::is_at_least(6, 10)? {
        &KINDS[..]
    } else {
        &KINDS[..3]
    };
    let refused = NAMESPACES * CONNECTS;
    for kind in kinds {
        let told = event_count(&lines, kind, ours);
        stream::ensure_counted(
            &lines,
            &format!("{kind} of refused connects"),
            refused,
            told,
        )?;
    }
    let wanted = refused * kinds.len() as u64;
    let shown = lines
        .iter()
        .filter(|line| ours(line.value()) && line.value()["flow"].is_object())
        .count() as u64;
    // What the machine itself does meanwhile may want an example for each occurrence.
    let others: u64 = lines
        .iter()
        .filter(|line| line.kind() == "event" && !ours(line.value()))
        .filter_map(|line| line.value()["count"].as_u64())
        .sum();
    let stats = stats(&lines).next_back().context("no stats line came")?;
    let lost = stats.value()["lost_samples"]
        .as_u64()
        .context("stats tell no lost samples")?;
    let misses = stats.misses();
    stream::ensure(
        &lines,
        lost > 0 && (wanted - misses..=wanted + others).contains(&(shown + lost)),
        || {
            format!(
                "{wanted} examples were wanted and at most {others} of others, {shown} came and {lost} are said to be lost"
            )
        },
    )?;
    // An emulated kernel skips calls by itself.
    stream::ensure(
        &lines,
        (misses == 0 || scale::is_slow()) && stats.lost_events() == Some(0),
        || format!("a full ring costs no occurrence: {stats}"),
    )
}
