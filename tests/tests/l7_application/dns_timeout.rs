//! A resolver stops (SIGSTOP), and queries to it have no answer; or a filter of this host takes the answers away, and that is why.
//!
//! First evidence: the first query without an answer.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::nft::DropRule;
use osi_tests::resolver::{Dnsmasq, KNOWN, Questions, ask};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use rustix::process::Signal;

const EXPECTED: Expected = Expected {
    cause: "dns_timeout",
    layer: "L7",
    within: STATISTICAL,
    beside: &[],
};

const FILTERED: Expected = Expected {
    cause: "packet_filtered",
    layer: "L3",
    within: STATISTICAL,
    // The answers have passed the interface before the filter takes them: to the agent, the queries are answered.
    beside: &[],
};

fn questions(count: u64) -> Questions {
    Questions {
        server: Pair::server_at(Family::V4, 53),
        below: KNOWN,
        count,
        per_second: 10,
        patience: Duration::from_millis(200),
    }
}

#[test]
fn dns_timeout() -> Result<()> {
    let test = "l7_application::dns_timeout::dns_timeout";
    let Some(_turn) = skip::ready(test, &[Need::Program("dnsmasq")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = questions(0).server;
    let resolver = Dnsmasq::start(&pair.server, server)?;
    let agent = Agent::watch(&pair.client)?;
    let asked = ask(&pair.client, questions(30))?.join()?;
    ensure!(asked.codes.get(&0) == Some(&30), "{asked:?}");

    let fault = SystemTime::now();
    resolver.signal(Signal::STOP)?;
    let load = ask(&pair.client, questions(40))?;
    let map = EXPECTED.named(&agent, fault, fault)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "resolver"
            && scope["remote"] == server.ip().to_string()
            && scope["port"] == server.port(),
        || format!("{server} is silent, not {scope}"),
    )?;
    let asked = load.join()?;
    ensure!(asked.unanswered == 40, "{asked:?}");

    resolver.signal(Signal::CONT)?;
    let load = ask(&pair.client, questions(100))?;
    EXPECTED.resolves(&agent, &map)?;
    load.join()?;
    EXPECTED.stop(agent).map(drop)
}

#[test]
fn a_filter_here_is_the_root() -> Result<()> {
    let test = "l7_application::dns_timeout::a_filter_here_is_the_root";
    let needs = [Need::Program("dnsmasq"), Need::Program("nft")];
    let Some(_turn) = skip::ready(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let _resolver = Dnsmasq::start(&pair.server, questions(0).server)?;
    let agent = Agent::watch(&pair.client)?;
    let asked = ask(&pair.client, questions(30))?.join()?;
    ensure!(asked.codes.get(&0) == Some(&30), "{asked:?}");

    let fault = SystemTime::now();
    let rule = DropRule::add(&pair.client, "input", "udp sport 53")?;
    let load = ask(&pair.client, questions(40))?;
    let map = FILTERED.named(&agent, fault, fault)?;
    let asked = load.join()?;
    ensure!(asked.unanswered == 40, "{asked:?}");
    rule.remove()?;
    FILTERED.resolves(&agent, &map)?;
    FILTERED.stop(agent).map(drop)
}
