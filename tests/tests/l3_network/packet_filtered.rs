//! A rule in the server's own input hook drops the SYNs of two clients' connects to a port that somebody listens on.
//!
//! First evidence: the rule's counter leaves 0.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, HARD};
use osi_tests::knock::knock;
use osi_tests::nft::DropRule;
use osi_tests::server::listen;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, rows, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::wait;

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
    // Alone: while other agents attach or detach, the kernel passes over what a timer sends again and a rule drops.
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
