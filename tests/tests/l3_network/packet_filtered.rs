//! A rule in the server's own input hook drops the SYNs of two clients' connects to a port that somebody listens on; one in
//! the client's drops the acknowledgements of connections that are established.
//!
//! First evidence: the rule's counter leaves 0.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, HARD, STATISTICAL};
use osi_tests::knock::knock;
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server, listen};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, rows, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, load, report, wait};

const EXPECTED: Expected = Expected {
    cause: "packet_filtered",
    layer: "L3",
    within: HARD,
    beside: &[],
};

#[test]
fn packet_filtered() -> Result<()> {
    scenario("l3_network::packet_filtered::packet_filtered", Family::V4)
}

#[test]
fn packet_filtered_v6() -> Result<()> {
    scenario(
        "l3_network::packet_filtered::packet_filtered_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    // Alone: the busier process 1 is, the more some kernels hide of what a timer sends again (`osi_tests::hidden`).
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("nft")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(family, 7);
    let clients = vec![Pair::client_at(family, 0).ip(), pair.add_client(family)?];
    let listener = listen(&pair.server, target, 16)?;
    let agent = Agent::watch(&pair.server)?;

    let fault = SystemTime::now();
    let rule = DropRule::add(&pair.server, "input", "tcp dport 7")?;
    let connects = knock(&pair.client, clients, target)?;
    let evidence = wait::until_above("filtered packets", 0, Duration::from_secs(2), || {
        rule.packets()
    })?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let certain = &map.verdict()["confidence"];
    agent.ensure(certain == "certain", || {
        format!("the kernel names the ruleset, so {certain} is too modest")
    })?;
    is_named(&agent, rule.handle()?)?;

    connects.join()?;
    let dropped = rule.remove()?;
    drop(listener);
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = sum(&lines, |map| map.dropped("L3", "NETFILTER_DROP"));
    stream::ensure(&lines, said == dropped, || {
        format!("the rule dropped {dropped} packets and the agent says {said}")
    })?;
    Ok(())
}

/// The verdict names the rule, and its advice shows the chain, once the rule set has been read: in the window after it opens.
fn is_named(agent: &Agent, handle: u64) -> Result<()> {
    let name = format!("nft inet lab drops handle {handle}");
    let named = agent.wait_for(&format!("{name:?} in the verdict"), INTERVAL * 3, |line| {
        line.is_fault_map() && rows(line.verdict(), "evidence").any(|row| row["signal"] == *name)
    })?;
    let evidence = rows(named.verdict(), "evidence").find(|row| row["signal"] == *name);
    let place = format!("rule handle {handle} of chain drops (hook input) in table inet lab");
    let why = evidence.and_then(|row| row["why"].as_str());
    agent.ensure(why.is_some_and(|why| why.contains(&place)), || {
        format!("{place:?} is not in {why:?}")
    })?;
    let confirm = named.verdict()["advice"][0]["confirm"].as_str();
    let shows = "nft -a list chain inet lab drops";
    agent.ensure(confirm.is_some_and(|text| text.ends_with(shows)), || {
        format!("the advice is {confirm:?} and not {shows:?}")
    })
}

/// What is sent again is loss, which may be seen a window before the filter is; afterwards it is a symptom.
const ESTABLISHED: Expected = Expected {
    within: STATISTICAL,
    beside: &["packet_loss"],
    ..EXPECTED
};

const CONNECTIONS: usize = 8;
const BYTES: usize = 100;

#[test]
fn established_connections() -> Result<()> {
    let test = "l3_network::packet_filtered::established_connections";
    established(test, Family::V4)
}

#[test]
fn established_connections_v6() -> Result<()> {
    let test = "l3_network::packet_filtered::established_connections_v6";
    established(test, Family::V6)
}

fn established(test: &str, family: Family) -> Result<()> {
    let needs = [Need::Program("nft"), Need::Program("nstat")];
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(family, 7);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let mut streams = load::push(&pair.client, target, CONNECTIONS, BYTES)?;
    let agent = Agent::watch(&pair.client)?;

    let fault = SystemTime::now();
    let rule = DropRule::add(&pair.client, "input", "tcp sport 7")?;
    for stream in &mut streams {
        stream.write_all(&[b'o'; BYTES])?;
    }
    let evidence = wait::until_above("filtered packets", 0, Duration::from_secs(2), || {
        rule.packets()
    })?;
    let map = ESTABLISHED.named(&agent, fault, evidence)?;
    let summary = map.verdict()["summary"].as_str().unwrap_or_default();
    let from = format!("of its own connections, for example from {target} to");
    agent.ensure(summary.contains(&from), || {
        format!("{from:?} is not in {summary:?}")
    })?;
    let again = counters::snmp(&pair.client, "TcpRetransSegs")?;
    let told = map.evidence("retransmits");
    agent.ensure(
        told.is_some_and(|told| told > 0.0 && told <= again as f64),
        || format!("nstat has {again} segments sent again until now and the verdict says {told:?}"),
    )?;
    report::say(
        "compared",
        &format!("segments sent again: {told:?} in the window, {again} until now"),
    )?;

    let dropped = rule.remove()?;
    load::arrived(streams)?;
    drop(server);
    ESTABLISHED.resolves(&agent, &map)?;
    let lines = ESTABLISHED.stop(agent)?;
    let said = sum(&lines, |map| map.dropped("L3", "NETFILTER_DROP"));
    stream::ensure(&lines, said == dropped, || {
        format!("the rule dropped {dropped} packets and the agent says {said}")
    })
}
