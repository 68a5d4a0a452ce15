//! The server behind a proxy does not answer for its address → the proxy's connects have no route → it answers with 503.
//!
//! First evidence: the first such answer.

use std::net::SocketAddr;
use std::time::SystemTime;

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::http::browse;
use osi_tests::proxy::Haproxy;
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};

use super::told;

const EXPECTED: Expected = Expected {
    cause: "neighbor_unreachable",
    layer: "L2",
    within: STATISTICAL,
    beside: &["http_errors"],
};

/// On the proxy's own subnet, and nobody's.
const NOBODY: ([u8; 4], u16) = ([10, 1, 0, 99], 80);
/// Each of them waits for some two seconds, as the proxy tries twice.
const CLIENTS: usize = 18;
const REQUESTS: u64 = 8;

#[test]
fn dead_neighbour() -> Result<()> {
    let test = "cascades::dead_neighbour::dead_neighbour";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("haproxy")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    // It is asked for its address once, not three times.
    for (key, value) in [("mcast_solicit", "1"), ("retrans_time_ms", "500")] {
        pair.client
            .set_sysctl(&format!("net/ipv4/neigh/eth0/{key}"), value)?;
    }
    let front = Pair::client_at(Family::V4, 8080);
    let _proxy = Haproxy::start(&pair.client, front, SocketAddr::from(NOBODY))?;
    let agent = Agent::watch(&pair.client)?;

    let fault = SystemTime::now();
    let clients = (0..CLIENTS).map(|_| browse(&pair.server, front, "/", REQUESTS, 2));
    let load = clients.collect::<Result<Vec<_>>>()?;
    let map = EXPECTED.named(&agent, fault, fault)?;
    told(&agent, EXPECTED.cause, &["http_errors"])?;
    let mut failed = 0;
    for client in load {
        failed += client.join()?.of(503);
    }
    let asked = REQUESTS * CLIENTS as u64;
    anyhow::ensure!(failed == asked, "{failed} of {asked} answers are 503");

    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}
