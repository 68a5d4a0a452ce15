//! A resolver that was told to expect signatures which are not there answers SERVFAIL; or programs ask for many more names than
//! usual that do not exist.
//!
//! First evidence: the first such answer.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::resolver::{Dnsmasq, KNOWN, Questions, UNKNOWN, ask};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
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

const NXDOMAIN: u8 = 3;
/// A tenth of what is asked for does not exist in healthy windows, and four fifths when it storms.
const KNOWN_PER_S: u32 = 9;
const UNKNOWN_PER_S: u32 = 1;
const STORM_PER_S: u32 = 40;
const HEALTHY_S: u64 = 8;
const STORM_S: u64 = 6;

#[test]
fn names_that_do_not_exist() -> Result<()> {
    let test = "l7_application::dns_failing::names_that_do_not_exist";
    let needs = ["dnsmasq", "dig"].map(Need::Program);
    let Some(_turn) = skip::ready(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = questions(Family::V4).server;
    let _resolver = Dnsmasq::start(&pair.server, server)?;
    let agent = Agent::watch(&pair.client)?;
    let load = |below, per_second: u32, seconds: u64| {
        let questions = Questions {
            below,
            count: u64::from(per_second) * seconds,
            per_second,
            ..questions(Family::V4)
        };
        ask(&pair.client, questions)
    };
    let known = load(KNOWN, KNOWN_PER_S, HEALTHY_S)?;
    let few = load(UNKNOWN, UNKNOWN_PER_S, HEALTHY_S)?;
    known.join()?;
    let mut unknown = vec![few.join()?];

    let fault = SystemTime::now();
    let known = load(KNOWN, KNOWN_PER_S, STORM_S)?;
    let storm = load(UNKNOWN, STORM_PER_S, STORM_S)?;
    let map = EXPECTED.named(&agent, fault, fault)?;
    let verdict = map.verdict();
    agent.ensure(verdict["state"] == "warn", || {
        format!(
            "who asks may be wrong, and the verdict is {}",
            verdict["state"]
        )
    })?;
    agent.ensure(map.evidence_says(&["NXDOMAIN", UNKNOWN]), || {
        format!(
            "the evidence names no code or name: {}",
            verdict["evidence"]
        )
    })?;
    let usual = map.evidence("usual");
    agent.compare(
        usual.is_some_and(|usual| (0.03..0.2).contains(&usual)),
        || format!("a tenth of the names does not exist as a rule, and {usual:?} is told"),
    )?;
    known.join()?;
    unknown.push(storm.join()?);

    let known = load(KNOWN, KNOWN_PER_S, HEALTHY_S)?;
    EXPECTED.resolves(&agent, &map)?;
    known.join()?;
    let lines = EXPECTED.stop(agent)?;
    let codes = unknown
        .iter()
        .filter_map(|asked| asked.codes.get(&NXDOMAIN));
    let offered: u64 = codes.sum();
    let asked = u64::from(UNKNOWN_PER_S) * HEALTHY_S + u64::from(STORM_PER_S) * STORM_S;
    ensure!(
        offered == asked,
        "{offered} of {asked} answers are NXDOMAIN"
    );
    let counted = growth(&lines, "L7", "dns_nxdomain");
    stream::ensure_counted(&lines, "names that do not exist", offered, counted)
}
