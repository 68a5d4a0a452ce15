//! A worker's CPU quota is used up → its TLS handshakes take several times as long → so do its answers over HTTP.
//!
//! First evidence: the first period in which the quota was used up.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::cgroup::CpuGroup;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::secure::Certificate;
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::{scale, wait};

use super::clients::{Clients, Plan, window};
use super::told;

const EXPECTED: Expected = Expected {
    cause: "cpu_starved",
    layer: "L7",
    within: STATISTICAL,
    // What it causes may be seen before it has lasted for two windows.
    beside: &["tls_handshake_slow", "http_slow", "application_slow"],
};

/// Of a hundred milliseconds: a fraction of what the clients want, and enough for several handshakes in each window.
const QUOTA: Duration = Duration::from_millis(2);
/// So many that each waits long for its turn.
const CLIENTS: u64 = 16;
/// Eight windows to learn from, and as long as it takes under the quota.
const WINDOWS: u64 = 30;
const LEARNT: usize = 8;

#[test]
fn cpu_quota() -> Result<()> {
    let test = "cascades::cpu_quota::cpu_quota";
    let needs = ["nginx", "openssl", "curl"].map(Need::Program);
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let Some(group) = CpuGroup::create("quota", scale::patience(QUOTA))? else {
        return skip::skip(test, "no hierarchy of cgroups limits CPU time");
    };
    let pair = Pair::build()?;
    let [tls, http] = [443, 80].map(|port| Pair::server_at(Family::V4, port));
    let certificate = Certificate::create(&pair.server, "good")?;
    let nginx = Nginx::start_tls_beside(&pair.server, tls, &certificate, http)?;
    let [worker] = nginx.workers()?[..] else {
        anyhow::bail!("nginx has more than one worker");
    };
    let plan = Plan {
        tls,
        http,
        certificate: &certificate,
        clients: CLIENTS,
        windows: WINDOWS,
        window: window(),
    };
    let agent = Agent::watch_every(&pair.server, plan.window, &[])?;
    let clients = Clients::start(&pair.client, &plan)?;
    agent.wait_for_window(SystemTime::now(), LEARNT)?;

    group.take(worker)?;
    let fault = SystemTime::now();
    let throttled = || group.throttled();
    let evidence = wait::until_above("throttled periods", 0, Duration::from_secs(5), throttled)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    told(&agent, EXPECTED.cause, &["tls_handshake_slow", "http_slow"])?;

    group.lift()?;
    clients.all_are_served()?;
    EXPECTED
        .resolves(&agent, &map)
        .context("the quota is gone")?;
    drop(nginx);
    EXPECTED.stop(agent).map(drop)
}
