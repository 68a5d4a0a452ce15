//! A resolver that was told to expect signatures which are not there answers SERVFAIL.
//!
//! First evidence: the first such answer.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::resolver::{Dnsmasq, KNOWN, Questions, ask};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count};
use osi_tests::topology::{Family, Pair};

const EXPECTED: Expected = Expected {
    cause: "dns_failing",
    layer: "L7",
    within: STATISTICAL,
    beside: &[],
};

const SERVFAIL: u8 = 2;

fn questions(family: Family) -> Questions {
    Questions {
        server: Pair::server_at(family, 53),
        below: KNOWN,
        count: 60,
        per_second: 10,
        patience: Duration::from_secs(2),
    }
}

fn dns_failing(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("dnsmasq")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let questions = questions(family);
    let well = Dnsmasq::start(&pair.server, questions.server)?;
    let agent = Agent::watch(&pair.client)?;
    let asked = ask(&pair.client, questions)?.join()?;
    ensure!(asked.codes.get(&0) == Some(&questions.count), "{asked:?}");
    agent.wait_for_window(SystemTime::now(), 1)?;

    drop(well);
    let broken = Dnsmasq::start_with_a_wrong_anchor(&pair.server, questions.server)?;
    let fault = SystemTime::now();
    let load = ask(&pair.client, questions)?;
    let map = EXPECTED.named(&agent, fault, fault)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "resolver"
            && scope["remote"] == questions.server.ip().to_string()
            && scope["port"] == questions.server.port(),
        || format!("{} fails, not {scope}", questions.server),
    )?;
    agent.ensure(map.evidence_says(&["SERVFAIL", KNOWN]), || {
        format!("the evidence names no code or name: {}", map.verdict())
    })?;
    let failed = load.join()?.codes.get(&SERVFAIL).copied().unwrap_or(0);
    ensure!(failed == questions.count, "{failed} answers are SERVFAIL");

    drop(broken);
    let _well = Dnsmasq::start(&pair.server, questions.server)?;
    let load = ask(&pair.client, questions)?;
    EXPECTED.resolves(&agent, &map)?;
    load.join()?;
    let lines = EXPECTED.stop(agent)?;
    let told = event_count(&lines, "dns_failed", |event| event["reason"] == "servfail");
    stream::ensure_counted(&lines, "SERVFAIL", failed, told)
}

#[test]
fn over_ipv4() -> Result<()> {
    dns_failing("l7_application::dns_failing::over_ipv4", Family::V4)
}

#[test]
fn over_ipv6() -> Result<()> {
    dns_failing("l7_application::dns_failing::over_ipv6", Family::V6)
}
