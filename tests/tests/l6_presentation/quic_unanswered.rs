//! A filter before the server lets TCP through and no UDP.
//!
//! First evidence: the fourth hello that it drops.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::nft::DropRule;
use osi_tests::quic::{ask, serve};
use osi_tests::secure::{Certificate, Requests, curl};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};

const EXPECTED: Expected = Expected {
    cause: "quic_unanswered",
    layer: "L6",
    within: STATISTICAL,
    beside: &[],
};

const NEEDS: [Need; 6] = [
    Need::Program("gtlsserver"),
    Need::Program("gtlsclient"),
    Need::Program("openssl"),
    Need::Program("nginx"),
    Need::Program("curl"),
    Need::Program("nft"),
];

/// Handshakes that nobody answers: one more than the cause allows for.
const SILENT: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(5);
/// Of a client that hears nothing.
const IMPATIENCE: Duration = Duration::from_millis(300);

fn unanswered(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(family, 443);
    let certificate = Certificate::create(&pair.server, "quic")?;
    let _nginx = Nginx::start_tls(&pair.server, server, &certificate, "TLSv1.3")?;
    let _server = serve(&pair.server, server, &certificate)?;
    let agent = Agent::watch(&pair.client)?;
    let told = ask(&pair.client, server, "v1", 3, PATIENCE)?;
    ensure!((told.completed(), told.failed) == (3, 0), "{told:?}");
    agent.wait_for_window(SystemTime::now(), 1)?;

    let fault = SystemTime::now();
    let filter = DropRule::add(&pair.server, "input", "udp dport 443")?;
    let trusts = certificate.file();
    let over_tcp = Requests {
        server,
        trusts: &trusts,
        version: "1.3",
        count: 200,
        per_second: 20,
    };
    let browsing = curl(&pair.client, over_tcp)?;
    let told = ask(&pair.client, server, "v1", SILENT, IMPATIENCE)?;
    ensure!(told.failed == SILENT, "{told:?}");
    let map = EXPECTED.named(&agent, fault, SystemTime::now())?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["remote"] == server.ip().to_string()
            && scope["port"] == server.port()
            && scope["proto"] == "udp",
        || format!("{server} is asked over UDP, and the scope is {scope}"),
    )?;
    // Of a window in which one over TCP ended.
    agent.wait_for("TCP to pass beside it", PATIENCE, |line| {
        let verdict = line.verdict();
        line.is_fault_map()
            && verdict["cause"] == EXPECTED.cause
            && verdict["summary"]
                .as_str()
                .is_some_and(|text| text.contains("over TCP it does"))
    })?;
    let dropped = filter.remove()?;
    ensure!(dropped >= SILENT, "the filter dropped {dropped}");
    let told = browsing.join()?;
    ensure!(told.failed == 0, "{told:?}");

    let told = ask(&pair.client, server, "v1", 3, PATIENCE)?;
    ensure!((told.completed(), told.failed) == (3, 0), "{told:?}");
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}

#[test]
fn asked_over_ipv4() -> Result<()> {
    unanswered(
        "l6_presentation::quic_unanswered::asked_over_ipv4",
        Family::V4,
    )
}

#[test]
fn asked_over_ipv6() -> Result<()> {
    unanswered(
        "l6_presentation::quic_unanswered::asked_over_ipv6",
        Family::V6,
    )
}
