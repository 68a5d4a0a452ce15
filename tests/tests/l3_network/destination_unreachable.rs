//! The router refuses packets for the server, each family in another way, and the client keeps trying.
//!
//! First evidence: the first destination unreachable message that the client counts. As routers do, this one answers the
//! first few packets and then a few a second, so that some connects fail at once and others hang.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::load::{self, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, wait};

const EXPECTED: Expected = Expected {
    cause: "destination_unreachable",
    layer: "L3",
    within: HARD,
    beside: &[],
};

/// How the router refuses, what it says then, and where that is counted.
struct Refusal {
    route: &'static str,
    says: &'static str,
    counter: &'static str,
    signal: &'static str,
}

#[test]
fn destination_unreachable() -> Result<()> {
    scenario(
        "l3_network::destination_unreachable::destination_unreachable",
        Family::V4,
        &Refusal {
            route: "unreachable",
            says: "host unreachable",
            counter: "IcmpInDestUnreachs",
            signal: "icmp_unreachable_received",
        },
    )
}

#[test]
fn destination_prohibited_v6() -> Result<()> {
    scenario(
        "l3_network::destination_unreachable::destination_prohibited_v6",
        Family::V6,
        &Refusal {
            route: "prohibit",
            says: "communication with destination administratively prohibited",
            counter: "Icmp6InDestUnreachs",
            signal: "icmp6_unreachable_received",
        },
    )
}

fn scenario(test: &str, family: Family, refusal: &Refusal) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(family, 7);
    let (server, router) = (
        target.ip().to_string(),
        Routed::router_at(family, 0).ip().to_string(),
    );
    let told = || counters::snmp(&lab.client, refusal.counter);
    let before = told()?;
    let agent = Agent::watch(&lab.client)?;

    let fault = SystemTime::now();
    lab.router.ip(&["route", "add", refusal.route, &server])?;
    let connects = load::connections(&lab.client, Plan::connects(target, 80, 40))?;
    let evidence = wait::until_above("refused packets", before, Duration::from_secs(5), told)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let verdict = map.verdict();
    agent.ensure(verdict["scope"]["remote"] == server, || {
        format!("{server} is refused, not {}", verdict["scope"])
    })?;
    let summary = verdict["summary"].as_str().unwrap_or_default();
    let named = [router.as_str(), refusal.says, "port 7"];
    agent.ensure(named.iter().all(|word| summary.contains(word)), || {
        format!("{named:?} are to be named, and the summary is {summary:?}")
    })?;
    let certain = &verdict["confidence"];
    agent.ensure(certain == "certain", || {
        format!("the router says so, and {certain} is too modest")
    })?;

    let report = connects.join()?;
    lab.router.ip(&["route", "del", refusal.route, &server])?;
    let truth = told()? - before;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    stream::ensure(&lines, report.connected == 0, || {
        format!("{} connects came through a closed way", report.connected)
    })?;
    let reason = refusal.says.replace(' ', "_");
    let events = event_count(&lines, "icmp_error_received", |event| {
        let flow = &event["flow"];
        event["reason"] == reason
            && event["layer"] == "L3"
            && (flow.is_null() || event["sender"] == router)
            && (flow.is_null() || flow["dst"] == server && flow["dport"] == 7)
    });
    let said = growth(&lines, "L3", refusal.signal);
    let meant = growth(&lines, "L3", "icmp_not_reached");
    stream::ensure(&lines, [events, said, meant] == [truth; 3], || {
        format!(
            "nstat counts {truth} refused packets, the events {events}, the signals {said} and {meant}"
        )
    })
}
