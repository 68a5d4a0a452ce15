//! Application slow → its receive buffers fill → their windows close → who sends to it waits.
//!
//! One thread reads from each connection in turn and takes its time in between. It does read, somebody's data at any time, so that
//! it is not stalled; and each one's data waits for a whole turn, which is slow. First evidence: the first data that has waited so long.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::cpu::Unpressed;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::in_turn::{InTurn, Work};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, load, scale};

use super::told;

const EXPECTED: Expected = Expected {
    cause: "application_slow",
    layer: "L7",
    within: STATISTICAL,
    // A window that has been closed for a second is seen at once.
    beside: &["peer_not_reading"],
};

const PORT: u16 = 9;
const STREAMS: u32 = 8;
const BYTES_PER_SECOND: u64 = 1_000_000;
/// Least, usual and most: a turn's data is more than that, on slow machines too, where less is sent.
const BUFFERS: &str = "4096 65536 65536";
/// For each connection; all others wait meanwhile.
const SLOW: Duration = Duration::from_millis(200);
const LEARNT: usize = 10;
/// To learn, to be slow, and to recover.
const DURATION: Duration = Duration::from_secs(24);

#[test]
fn slow_reader() -> Result<()> {
    let test = "cascades::slow_reader::slow_reader";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    pair.server.set_sysctl("net/ipv4/tcp_rmem", BUFFERS)?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = InTurn::start(&pair.server, target, Work::Store)?;
    let unpressed = Unpressed::create(&pair.server)?;
    let agent = Agent::watch_all_with(&unpressed.options()?)?;
    let rate = Some(scale::rate(BYTES_PER_SECOND));
    let streams = (0..STREAMS)
        .map(|_| load::bulk(&pair.client, target, DURATION, rate))
        .collect::<Result<Vec<_>>>()?;
    agent.wait_for_window(SystemTime::now(), LEARNT)?;
    let closed = || counters::snmp(&pair.server, "TcpExtTCPToZeroWindowAdv");
    let before = closed()?;

    let fault = SystemTime::now();
    server.work_for(SLOW);
    let map = EXPECTED.named(&agent, fault, fault + SLOW * STREAMS)?;
    let verdict = map.verdict();
    agent.ensure(
        verdict["scope"]["kind"] == "listener" && verdict["scope"]["port"] == PORT,
        || format!("{target} is slow, not {verdict}"),
    )?;
    let told_ns = verdict["evidence"][0]["value"].as_f64();
    let least = (SLOW * (STREAMS - 1)).as_nanos() as f64;
    agent.compare(
        verdict["evidence"][0]["signal"] == "request_dwell" && told_ns > Some(least),
        || format!("data waits for {least} ns or more, and is said to wait for {told_ns:?}"),
    )?;
    told(&agent, EXPECTED.cause, &["peer_not_reading"])?;
    let more = closed()? - before;
    ensure!(more > 0, "{more} windows were closed");

    server.work_for(Duration::ZERO);
    EXPECTED.resolves(&agent, &map)?;
    for stream in streams {
        stream.join()?;
    }
    drop(server);
    EXPECTED.stop(agent).map(drop)
}
