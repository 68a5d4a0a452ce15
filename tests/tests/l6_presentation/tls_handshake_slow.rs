//! A server stops in the middle of its work: its kernel takes connections, and nobody answers a hello.
//!
//! First evidence: a handshake that has gone on for longer than is allowed for.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::secure::{Certificate, Requests, curl};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use rustix::process::Signal;

const EXPECTED: Expected = Expected {
    cause: "tls_handshake_slow",
    layer: "L6",
    within: STATISTICAL,
    // From the client it is a peer that does not answer, whatever is said.
    beside: &["dependency_slow"],
};

/// The cause's `stuck_s`.
const ALLOWED: Duration = Duration::from_secs(2);
const CLIENTS: u64 = 6;

#[test]
fn tls_handshake_slow() -> Result<()> {
    let test = "l6_presentation::tls_handshake_slow::tls_handshake_slow";
    let needs = [
        Need::Program("nginx"),
        Need::Program("openssl"),
        Need::Program("curl"),
    ];
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(Family::V4, 443);
    let certificate = Certificate::create(&pair.server, "good")?;
    let nginx = Nginx::start_tls(&pair.server, server, &certificate, "TLSv1.2 TLSv1.3")?;
    let agent = Agent::watch(&pair.client)?;
    let trusts = certificate.file();
    let requests = |count, per_second| Requests {
        server,
        trusts: &trusts,
        version: "1.3",
        count,
        per_second,
    };
    let told = curl(&pair.client, requests(60, 10))?.join()?;
    ensure!((told.completed(), told.failed) == (60, 0), "{told:?}");

    nginx.signal_workers(Signal::STOP)?;
    let fault = SystemTime::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| curl(&pair.client, requests(1, 0)))
        .collect::<Result<_>>()?;
    let map = EXPECTED.named(&agent, fault, SystemTime::now() + ALLOWED)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "peer" && scope["remote"] == server.ip().to_string(),
        || format!("{server} stands still, not {scope}"),
    )?;
    nginx.signal_workers(Signal::CONT)?;
    for client in clients {
        let told = client.join()?;
        ensure!((told.completed(), told.failed) == (1, 0), "{told:?}");
    }
    let load = curl(&pair.client, requests(80, 10))?;
    EXPECTED.resolves(&agent, &map)?;
    load.join()?;
    EXPECTED.stop(agent)?;
    Ok(())
}
