//! The delayed wire delays by what it was told.

use std::time::Duration;

use anyhow::{Result, ensure};
use osi_tests::delay::DelayedPair;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::scale;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::Family;

#[test]
fn a_handshake_takes_twice_the_delay() -> Result<()> {
    let Some(_turn) = skip::ready(
        "lab::wire::a_handshake_takes_twice_the_delay",
        &[Need::Device("/dev/net/tun")],
    )?
    else {
        return Ok(());
    };
    let delay = scale::patience(Duration::from_millis(30));
    let pair = DelayedPair::build(delay)?;
    for family in [Family::V4, Family::V6] {
        let target = DelayedPair::server_at(family, 7);
        let server = Server::start(&pair.server, target, Behaviour::Echo)?;
        let plan = Plan {
            target,
            connections: 10,
            per_second: 20,
            connect_timeout: Duration::from_secs(2),
            exchange: Exchange::Echo,
        };
        let report = load::connections(&pair.client, plan)?.join()?;
        ensure!(
            report.completed == 10,
            "{} of 10 exchanges came through: {:?}",
            report.completed,
            report.errors
        );
        ensure!(
            server.accepted() == 10,
            "the server accepted {}",
            server.accepted()
        );
        let median = Duration::from_nanos(report.connect_ns.value_at_quantile(0.5));
        ensure!(
            (delay * 2..delay * 3).contains(&median),
            "a handshake over {delay:?} each way took {median:?}"
        );
    }
    Ok(())
}
