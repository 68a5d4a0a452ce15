//! The client loses its IPv6 default route and keeps its IPv4 one, then it connects over IPv6.

use std::time::Duration;

use anyhow::{Result, ensure};
use osi_tests::advertise;
use osi_tests::expect::{Expected, HARD};
use osi_tests::stream::rows;
use osi_tests::topology::{Family, Routed};
use osi_tests::wait;

use super::no_route::{WayOut, configured, scenario};

const EXPECTED: Expected = Expected {
    cause: "ipv6_broken",
    layer: "L3",
    within: HARD,
    beside: &[],
};
/// Longer than the scenario.
const LIFETIME: Duration = Duration::from_mins(30);

#[test]
fn ipv6_broken() -> Result<()> {
    let test = "l3_network::ipv6_broken::ipv6_broken";
    scenario(test, &configured(Family::V6), &EXPECTED).map(drop)
}

/// The router advertised itself, and then says that it is no way out any more.
#[test]
fn a_router_resigns() -> Result<()> {
    let test = "l3_network::ipv6_broken::a_router_resigns";
    let way = WayOut {
        family: Family::V6,
        prepare: |lab| {
            lab.remove_client_route(Family::V6)?;
            offer(lab)
        },
        lose: |lab, _| {
            advertise::router(&lab.router, Routed::WEST, Duration::ZERO)?;
            wait::until("the route is withdrawn", PATIENCE, || {
                Ok((!has_default(lab)?).then_some(()))
            })
        },
        restore: |lab, _| offer(lab),
    };
    let Some(map) = scenario(test, &way, &EXPECTED)? else {
        return Ok(());
    };
    let told = rows(map.verdict(), "evidence").any(|row| row["signal"] == "advertised_routes");
    ensure!(told, "the evidence is {}", map.verdict()["evidence"]);
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Advertises the router until the client has heard it: a new address may not be used at once.
fn offer(lab: &Routed) -> Result<()> {
    wait::until("the client hears the router", PATIENCE, || {
        advertise::router(&lab.router, Routed::WEST, LIFETIME)?;
        Ok(has_default(lab)?.then_some(()))
    })
}

fn has_default(lab: &Routed) -> Result<bool> {
    let routes = lab
        .client
        .ip(&["-6", "route", "show", "default", "proto", "ra"])?;
    Ok(!routes.trim().is_empty())
}
