//! 1,000 clean short connections a second: nothing opens, and both ends count every handshake.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip;
use osi_tests::stream::{self, handshakes};
use osi_tests::topology::{Family, Pair};

const CONNECTIONS: u64 = 10_000;

#[test]
fn a_thousand_connections_a_second() -> Result<()> {
    scenario(
        "controls::connections::a_thousand_connections_a_second",
        Family::V4,
    )
}

#[test]
fn a_thousand_connections_a_second_v6() -> Result<()> {
    scenario(
        "controls::connections::a_thousand_connections_a_second_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(family, 7);
    let server = Server::start(&pair.server, target, Behaviour::Echo)?;
    let client_side = Agent::watch(&pair.client)?;
    let server_side = Agent::watch(&pair.server)?;

    let plan = Plan {
        target,
        connections: CONNECTIONS,
        per_second: 1000,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let report = load::connections(&pair.client, plan)?.join()?;
    let ended = SystemTime::now();
    ensure!(
        report.completed == CONNECTIONS,
        "{} connections were clean, {:?}",
        report.completed,
        report.errors
    );
    ensure!(
        server.accepted() == CONNECTIONS,
        "the server accepted {}",
        server.accepted()
    );
    drop(server);

    client_side.wait_for_window(ended, 2)?;
    server_side.wait_for_window(ended, 2)?;
    let client_side = expect::calm(client_side)?;
    let server_side = expect::calm(server_side)?;
    let at_client = handshakes(&client_side, "tcp_handshake_client");
    stream::ensure_counted(&client_side, "client handshakes", CONNECTIONS, at_client)?;
    let at_server = handshakes(&server_side, "tcp_handshake_server");
    stream::ensure_counted(&server_side, "server handshakes", CONNECTIONS, at_server)?;
    Ok(())
}
