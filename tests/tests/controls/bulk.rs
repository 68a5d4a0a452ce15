//! A transfer as fast as an unshaped link carries it, by iperf3.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Routed};
use osi_tests::{daemon, expect, scale};

const SECONDS: u64 = 8;

#[test]
fn bulk_transfer() -> Result<()> {
    let Some(_turn) =
        skip::ready_alone("controls::bulk::bulk_transfer", &[Need::Program("iperf3")])?
    else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, 5201);
    let server = daemon::iperf3_server(&lab.server, target.port())?;
    let watched = [
        Agent::watch(&lab.client)?,
        Agent::watch(&lab.router)?,
        Agent::watch(&lab.server)?,
    ];
    let bytes = daemon::iperf3_bytes(&lab.client, target, SECONDS)?;
    drop(server);
    ensure!(
        bytes > scale::rate(100_000_000),
        "only {bytes} bytes were carried"
    );
    let ended = SystemTime::now();
    for agent in watched {
        agent.wait_for_window(ended, 3)?;
        expect::calm(agent)?;
    }
    Ok(())
}
