//! A filter on the way refuses queries to a resolver, and says so → nobody answers them.
//!
//! A filter that says nothing leaves no trace but the silence. First evidence: the first such message that the client counts.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::nft::Refusal;
use osi_tests::resolver::{Dnsmasq, KNOWN, Questions, ask};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, wait};

use super::told;

const EXPECTED: Expected = Expected {
    cause: "destination_unreachable",
    layer: "L3",
    within: HARD,
    beside: &["dns_timeout"],
};

const COUNT: u64 = 60;
const PER_SECOND: u32 = 10;

#[test]
fn refused_resolver() -> Result<()> {
    let test = "cascades::refused_resolver::refused_resolver";
    let needs = ["dnsmasq", "dig", "nft", "nstat"].map(Need::Program);
    let Some(_turn) = skip::ready(test, &needs)? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let server = Routed::server_at(Family::V4, 53);
    let _resolver = Dnsmasq::start(&lab.server, server)?;
    let agent = Agent::watch(&lab.client)?;
    let questions = Questions {
        server,
        below: KNOWN,
        count: COUNT,
        per_second: PER_SECOND,
        patience: Duration::from_millis(200),
    };
    let asked = ask(&lab.client, questions)?.join()?;
    ensure!(asked.codes.get(&0) == Some(&COUNT), "{asked:?}");

    let said = || counters::snmp(&lab.client, "IcmpInDestUnreachs");
    let before = said()?;
    let fault = SystemTime::now();
    let Some(refusal) = Refusal::add(&lab.router, "udp dport 53")? else {
        return skip::skip(test, "the kernel has no filter that says what it refuses");
    };
    let load = ask(&lab.client, questions)?;
    let evidence = wait::until_above("messages", before, Duration::from_secs(5), said)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    told(&agent, EXPECTED.cause, &["dns_timeout"])?;
    let asked = load.join()?;
    ensure!(asked.unanswered == COUNT, "{asked:?}");

    refusal.remove()?;
    let load = ask(&lab.client, questions)?;
    EXPECTED.resolves(&agent, &map)?;
    load.join()?;
    EXPECTED.stop(agent).map(drop)
}
