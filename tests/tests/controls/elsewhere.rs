//! One host is watched and stays calm while others on the same machine burn.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect;
use osi_tests::load::{self, Datagrams, Exchange, Plan};
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};

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
