//! A hop takes less than a client's hello needs, and a filter keeps it from saying so → the server never hears the hello.
//!
//! Hellos with the keys of post-quantum algorithms are as long. First evidence: the second time-out of a connection.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::nft::DropRule;
use osi_tests::secure::{Certificate, long_hello, serve};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, wait};

use super::told;

const EXPECTED: Expected = Expected {
    cause: "mtu_black_hole",
    layer: "L3",
    within: STATISTICAL,
    beside: &["tls_handshake_slow"],
};

const CLIENTS: u64 = 6;

#[test]
fn a_long_hello() -> Result<()> {
    let test = "cascades::long_hello::a_long_hello";
    let needs = ["openssl", "nft", "nstat"].map(Need::Program);
    let Some(_turn) = skip::ready(test, &needs)? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let server = Routed::server_at(Family::V4, 443);
    let certificate = Certificate::create(&lab.server, "good")?;
    let _serving = serve(&lab.server, server, &certificate)?;
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    let mtu = |size| lab.router.ip(&["link", "set", Routed::EAST, "mtu", size]);
    mtu("1280")?;
    let silence = DropRule::add(&lab.router, "output", "icmp type 3")?;
    let clients = (0..CLIENTS)
        .map(|_| long_hello(&lab.client, server))
        .collect::<Result<Vec<_>>>()?;
    let timeouts = || counters::snmp(&lab.client, "TcpExtTCPTimeouts");
    let evidence = wait::until_above("time-outs", CLIENTS, Duration::from_secs(5), timeouts)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    told(&agent, EXPECTED.cause, &["tls_handshake_slow"])?;

    ensure!(silence.remove()? > 0, "the router had nothing to say");
    mtu("1500")?;
    EXPECTED.resolves(&agent, &map)?;
    drop(clients);
    EXPECTED.stop(agent).map(drop)
}
