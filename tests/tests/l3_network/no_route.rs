//! The client's default route is deleted, then it connects.
//!
//! First evidence: the first connect that returns ENETUNREACH, at once.

use std::time::SystemTime;

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::{self, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, sum};
use osi_tests::topology::{Family, Routed};

const EXPECTED: Expected = Expected {
    cause: "no_route",
    layer: "L3",
    within: HARD,
    beside: &[],
};

const CONNECTS: u64 = 40;

#[test]
fn no_route() -> Result<()> {
    let test = "l3_network::no_route::no_route";
    scenario(test, &configured(Family::V4), &EXPECTED).map(drop)
}

/// How the client has its way out, and what becomes of it.
pub(super) struct WayOut {
    pub(super) family: Family,
    pub(super) prepare: fn(&Routed) -> Result<()>,
    pub(super) lose: fn(&Routed, Family) -> Result<()>,
    pub(super) restore: fn(&Routed, Family) -> Result<()>,
}

/// A route that is deleted.
pub(super) const fn configured(family: Family) -> WayOut {
    WayOut {
        family,
        prepare: |_| Ok(()),
        lose: Routed::remove_client_route,
        restore: Routed::restore_client_route,
    }
}

/// One family loses its way out, the other one keeps it. The map that named it, where the scenario can run.
pub(super) fn scenario(test: &str, way: &WayOut, expected: &Expected) -> Result<Option<Line>> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(None);
    };
    let family = way.family;
    let lab = Routed::build()?;
    (way.prepare)(&lab)?;
    let target = Routed::server_at(family, 7);
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    (way.lose)(&lab, family)?;
    let plan = Plan::connects(target, CONNECTS, 20);
    let report = load::connections(&lab.client, plan)?.join()?;
    let refused = report.errors_of(libc::ENETUNREACH);
    agent.ensure(refused == CONNECTS, || {
        format!("the connects ended with {:?}", report.errors)
    })?;
    let evidence = report.first_error.context("no connect failed")?;
    let map = expected.named(&agent, fault, evidence)?;

    (way.restore)(&lab, family)?;
    expected.resolves(&agent, &map)?;
    let lines = expected.stop(agent)?;
    let said = sum(&lines, |map| {
        map.layer("L3")["errors"].as_u64().unwrap_or(0)
    });
    stream::ensure(&lines, said == CONNECTS, || {
        format!("{CONNECTS} connects had no route and the agent counts {said} errors on L3")
    })?;
    Ok(Some(map))
}
