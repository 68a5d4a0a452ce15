//! First fragments whose siblings never come.
//!
//! First evidence: the first `IpReasmFails`, a second after the first fragment.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::frame::{self, IPV4};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::Pair;
use osi_tests::{counters, wait};

const EXPECTED: Expected = Expected {
    cause: "reassembly_failed",
    layer: "L3",
    within: STATISTICAL,
    beside: &[],
};

const DATAGRAMS: u64 = 1200;

#[test]
fn reassembly_failed() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l3_network::reassembly_failed::reassembly_failed",
        &[Need::Program("nstat")],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    pair.server.set_sysctl("net/ipv4/ipfrag_time", "1")?;
    let agent = Agent::watch(&pair.server)?;
    let fragment = frame::ipv4(Pair::CLIENT, Pair::SERVER, true);
    let (from, to) = ((&pair.client, "eth0"), (&pair.server, "eth0"));
    let frame = frame::ethernet(from, to, IPV4, &fragment)?;
    let header = frame.len() - fragment.len();

    let fault = SystemTime::now();
    let fragments = frame::send(&pair.client, "eth0", DATAGRAMS, move |number| {
        let mut frame = frame.clone();
        frame::identify(&mut frame[header..], number as u16);
        frame
    })?;
    let failed = || counters::snmp(&pair.server, "IpReasmFails");
    let evidence = wait::until_above("failures", 0, Duration::from_secs(8), failed)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;

    fragments.join()?;
    wait::until_above("failures", DATAGRAMS - 1, Duration::from_secs(5), failed)?;
    let truth = failed()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L3", "reassembly_failures");
    let timed_out = growth(&lines, "L3", "reassembly_timed_out");
    stream::ensure(&lines, [truth, said, timed_out] == [DATAGRAMS; 3], || {
        format!(
            "{DATAGRAMS} first fragments were sent, nstat counts {truth} failures and the agent {said}, {timed_out} of them timed out"
        )
    })
}
