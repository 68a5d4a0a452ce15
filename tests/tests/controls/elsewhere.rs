//! One host is watched and stays calm while others on the same machine burn.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect;
use osi_tests::load::{self, Datagrams, Exchange, Plan};
use osi_tests::netns::Namespace;
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line};
use osi_tests::topology::{Family, Pair};
use serde_json::Value;

#[test]
fn another_namespace_burns() -> Result<()> {
    let Some(_turn) = skip::ready(
        "controls::elsewhere::another_namespace_burns",
        &[Need::Program("nft")],
    )?
    else {
        return Ok(());
    };
    let watched = Pair::build()?;
    let burning = Pair::build()?;
    let server = Server::start(
        &watched.server,
        Pair::server_at(Family::V4, 7),
        Behaviour::Echo,
    )?;
    let agent = Agent::watch(&watched.client)?;

    let healthy = Plan {
        target: Pair::server_at(Family::V4, 7),
        connections: 250,
        per_second: 50,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let healthy = load::connections(&watched.client, healthy)?;
    let refused = Plan {
        target: Pair::server_at(Family::V4, 81),
        connections: 500,
        per_second: 100,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::None,
    };
    let refused = load::connections(&burning.client, refused)?;
    let rule = DropRule::add(&burning.server, "input", "udp dport 9")?;
    let target = Pair::server_at(Family::V4, 9);
    let dropped = Datagrams {
        target,
        count: 5000,
        size: 500,
        burst: 100,
        every: Duration::from_millis(100),
    };
    load::datagrams(&burning.client, dropped)?.join()?;

    anyhow::ensure!(
        refused.join()?.errors_of(libc::ECONNREFUSED) == 500,
        "the fire did not burn"
    );
    anyhow::ensure!(rule.remove()? == 5000, "the fire did not burn");
    anyhow::ensure!(
        healthy.join()?.completed == 250,
        "the watched host was not healthy"
    );
    agent.wait_for_window(SystemTime::now(), 2)?;
    drop(server);
    expect::calm(agent).map(drop)
}

/// Not even the kernel's maps may hold anything of a namespace that is not watched.
#[test]
fn nothing_of_another_namespace_is_counted() -> Result<()> {
    let Some(_turn) = skip::ready(
        "controls::elsewhere::nothing_of_another_namespace_is_counted",
        &[Need::Program("nft")],
    )?
    else {
        return Ok(());
    };
    // Only a loopback: of its own it has no packet, no connection and no drop.
    let watched = Namespace::create("watched")?;
    let idle = last_stats(&expect::calm(Agent::watch(&watched)?)?)?["map_fill"].clone();
    let busy = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let server = Server::start(&busy.server, target, Behaviour::Echo)?;
    let rule = DropRule::add(&busy.server, "input", "udp dport 9")?;
    let agent = Agent::watch(&watched)?;

    let plan = Plan {
        target,
        connections: 1500,
        per_second: 500,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let clean = load::connections(&busy.client, plan)?;
    let dropped = Datagrams {
        target: Pair::server_at(Family::V4, 9),
        count: 1500,
        size: 100,
        burst: 50,
        every: Duration::from_millis(100),
    };
    load::datagrams(&busy.client, dropped)?.join()?;
    let clean = clean.join()?.completed;
    let dropped = rule.remove()?;
    anyhow::ensure!(
        (clean, dropped) == (1500, 1500),
        "the other namespaces had {clean} connections and {dropped} drops"
    );
    agent.wait_for_window(SystemTime::now(), 2)?;
    drop(server);

    let lines = expect::calm(agent)?;
    let stats = last_stats(&lines)?;
    for figure in ["suppressed_events", "lost_events"] {
        stream::ensure(&lines, stats[figure] == 0, || {
            format!("{figure} of other namespaces: {stats}")
        })?;
    }
    stream::ensure(&lines, stats["map_fill"] == idle, || {
        format!(
            "idle, the maps held {idle}, and with others busy {}",
            stats["map_fill"]
        )
    })
}

fn last_stats(lines: &[Line]) -> Result<&Value> {
    let last = stream::stats(lines).next_back();
    last.map(Line::value).context("the agent said no stats")
}
