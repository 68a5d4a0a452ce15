//! A resolver behind a wire that becomes slow: answers take as long as the wire does, and longer than usual.
//!
//! First evidence: the first answer that took so long.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::delay::DelayedPair;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::resolver::{Dnsmasq, KNOWN, Questions, ask};
use osi_tests::skip::{self, Need};
use osi_tests::stream;
use osi_tests::topology::Family;

const EXPECTED: Expected = Expected {
    cause: "dns_slow",
    layer: "L7",
    within: STATISTICAL,
    beside: &[],
};

/// Each way.
const USUAL: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(150);

#[test]
fn dns_slow() -> Result<()> {
    let test = "l7_application::dns_slow::dns_slow";
    let needs = [Need::Device("/dev/net/tun"), Need::Program("dnsmasq")];
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let pair = DelayedPair::build(USUAL)?;
    let server = DelayedPair::server_at(Family::V4, 53);
    let _resolver = Dnsmasq::start(&pair.server, server)?;
    let agent = Agent::watch(&pair.client)?;
    let questions = |count, per_second| Questions {
        server,
        below: KNOWN,
        count,
        per_second,
        patience: Duration::from_secs(2),
    };
    let usual = ask(&pair.client, questions(80, 10))?.join()?;
    ensure!(usual.codes.get(&0) == Some(&80), "{usual:?}");

    let fault = SystemTime::now();
    pair.set_delay(SLOW);
    // One after the other: three in a second, and as many clients as make it enough.
    let clients: Vec<_> = (0..4)
        .map(|_| ask(&pair.client, questions(18, 3)))
        .collect::<Result<_>>()?;
    let map = EXPECTED.named(&agent, fault, fault + 2 * SLOW)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "resolver" && scope["remote"] == server.ip().to_string(),
        || format!("{server} is slow, not {scope}"),
    )?;
    for client in clients {
        let asked = client.join()?;
        ensure!(asked.codes.get(&0) == Some(&18), "{asked:?}");
    }
    pair.set_delay(USUAL);
    let load = ask(&pair.client, questions(100, 10))?;
    EXPECTED.resolves(&agent, &map)?;
    load.join()?;
    let lines = EXPECTED.stop(agent)?;
    let slow = lines
        .iter()
        .filter(|line| line.is_fault_map())
        .filter_map(|map| map.latency("L7", "dns_time", "p50_ns"))
        .max();
    // In the bucket of what the wire takes, which is 9 % wide, or the next one.
    let wire = (2 * SLOW).as_nanos() as u64;
    stream::ensure(
        &lines,
        slow.is_some_and(|ns| (wire..wire * 6 / 5).contains(&ns)),
        || format!("the wire takes {wire} ns, and the slowest median is {slow:?}"),
    )
}
