//! The client's default route is deleted, then it connects.
//!
//! First evidence: the first connect that returns ENETUNREACH, at once.

use std::time::SystemTime;

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::{self, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, sum};
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
    scenario("l3_network::no_route::no_route", Family::V4, &EXPECTED)
}

/// One family loses its way out, the other one keeps it.
pub(super) fn scenario(test: &str, family: Family, expected: &Expected) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(family, 7);
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    lab.remove_client_route(family)?;
    let plan = Plan::connects(target, CONNECTS, 20);
    let report = load::connections(&lab.client, plan)?.join()?;
    let refused = report.errors_of(libc::ENETUNREACH);
    agent.ensure(refused == CONNECTS, || {
        format!("the connects ended with {:?}", report.errors)
    })?;
    let evidence = report.first_error.context("no connect failed")?;
    let map = expected.named(&agent, fault, evidence)?;

    lab.restore_client_route(family)?;
    expected.resolves(&agent, &map)?;
    let lines = expected.stop(agent)?;
    let said = sum(&lines, |map| {
        map.layer("L3")["errors"].as_u64().unwrap_or(0)
    });
    stream::ensure(&lines, said == CONNECTS, || {
        format!("{CONNECTS} connects had no route and the agent counts {said} errors on L3")
    })?;
    Ok(())
}
