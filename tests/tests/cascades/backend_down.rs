//! The server behind a proxy is gone → the proxy's connects are refused → it answers its clients with 503.
//!
//! First evidence: the first connect that fails (`TcpAttemptFails`).

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, HARD};
use osi_tests::http::{Told, browse};
use osi_tests::netns::Task;
use osi_tests::proxy::Haproxy;
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, wait};

use super::told;

const EXPECTED: Expected = Expected {
    cause: "connection_refused",
    layer: "L4",
    within: HARD,
    beside: &[],
};

/// Each of them waits for a second, as the proxy tries twice.
const CLIENTS: usize = 10;
const REQUESTS: u64 = 12;
const PER_SECOND: u32 = 2;

#[test]
fn backend_down() -> Result<()> {
    let test = "cascades::backend_down::backend_down";
    let needs = ["nginx", "haproxy", "nstat"].map(Need::Program);
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let (front, back) = (
        Pair::client_at(Family::V4, 8080),
        Pair::server_at(Family::V4, 80),
    );
    let nginx = Nginx::start(&pair.server, back)?;
    let _proxy = Haproxy::start(&pair.client, front, back)?;
    let agent = Agent::watch(&pair.client)?;
    let ask = |count| -> Result<Vec<_>> {
        let clients = (0..CLIENTS).map(|_| browse(&pair.server, front, "/", count, PER_SECOND));
        clients.collect()
    };
    let all = |load: Vec<Task<Told>>, status| -> Result<u64> {
        let told = load.into_iter().map(|client| Ok(client.join()?.of(status)));
        told.sum()
    };
    let well = all(ask(4)?, 200)?;
    ensure!(well == 4 * CLIENTS as u64, "{well} answers are 200");

    drop(nginx);
    let fault = SystemTime::now();
    let refused = || counters::snmp(&pair.client, "TcpAttemptFails");
    let before = refused()?;
    let load = ask(REQUESTS)?;
    let evidence = wait::until_above(
        "connects that fail",
        before,
        Duration::from_secs(3),
        refused,
    )?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    told(&agent, EXPECTED.cause, &["http_errors"])?;
    let failed = all(load, 503)?;
    ensure!(failed == REQUESTS * CLIENTS as u64, "{failed} are 503");

    let _nginx = Nginx::start(&pair.server, back)?;
    let load = ask(2 * REQUESTS)?;
    EXPECTED.resolves(&agent, &map)?;
    all(load, 200)?;
    EXPECTED.stop(agent).map(drop)
}
