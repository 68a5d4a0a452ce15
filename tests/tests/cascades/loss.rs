//! On half of the connections to a server, the first segments are lost → TLS handshakes and answers over HTTP wait for time-outs.
//!
//! SYNs are spared, so that it is no fault of handshakes. First evidence: the first segment that is sent again.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::nft::DropRule;
use osi_tests::secure::Certificate;
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, wait};

use super::clients::{Clients, Plan, window};
use super::told;

const EXPECTED: Expected = Expected {
    cause: "packet_loss",
    layer: "L4",
    within: STATISTICAL,
    // What it causes may be seen before it has lasted for two windows.
    beside: &["tls_handshake_slow", "http_slow", "dependency_slow"],
};

/// Each waits for three seconds at most, which is slow also where a handshake takes a third of a second. With so much loss at random
/// most clients of a few would wait for half a minute, and hardly one would be served.
const LOSS: &str = "tcp dport { 80, 443 } tcp flags & syn == 0 tcp sport & 2 == 0 \
                    meter first { ip saddr . tcp sport timeout 30s limit rate 1/hour burst 6 packets }";
const CLIENTS: u64 = 32;
const WINDOWS: u64 = 30;
const LEARNT: usize = 8;

#[test]
fn loss() -> Result<()> {
    let test = "cascades::loss::loss";
    let needs = ["nginx", "openssl", "curl", "nft", "nstat"].map(Need::Program);
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let [tls, http] = [443, 80].map(|port| Routed::server_at(Family::V4, port));
    let certificate = Certificate::create(&lab.server, "good")?;
    let _nginx = Nginx::start_tls_beside(&lab.server, tls, &certificate, http)?;
    let plan = Plan {
        tls,
        http,
        certificate: &certificate,
        clients: CLIENTS,
        windows: WINDOWS,
        window: window(),
    };
    let agent = Agent::watch_every(&lab.client, plan.window, &[])?;
    let clients = Clients::start(&lab.client, &plan)?;
    agent.wait_for_window(SystemTime::now(), LEARNT)?;

    let fault = SystemTime::now();
    let before = counters::snmp(&lab.client, "TcpRetransSegs")?;
    let rule = DropRule::add(&lab.router, "forward", LOSS)?;
    let again = || counters::snmp(&lab.client, "TcpRetransSegs");
    let evidence = wait::until_above("segments sent again", before, Duration::from_secs(3), again)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    told(&agent, EXPECTED.cause, &["tls_handshake_slow", "http_slow"])?;

    rule.remove()?;
    clients.all_are_served()?;
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}
