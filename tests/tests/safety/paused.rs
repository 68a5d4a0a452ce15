//! An agent that does not run for seconds: the kernel's maps go on counting, and the next window tells all of it.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip;
use osi_tests::stream::{self, Line, event_count, handshakes, stats, sum};
use osi_tests::topology::{Family, Pair};

const CONNECTIONS: u64 = 10_000;
/// Stretched over 5 s.
const PER_SECOND: u64 = 2_000;
/// Connects to a closed port: each of them an event.
const REFUSED: u64 = 500;

#[test]
fn nothing_is_lost_while_it_is_stopped() -> Result<()> {
    let test = "safety::paused::nothing_is_lost_while_it_is_stopped";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let _server = Server::start(&pair.server, target, Behaviour::Echo)?;
    let agent = Agent::watch(&pair.client)?;

    agent.pause()?;
    let paused = SystemTime::now();
    let plan = Plan {
        target,
        connections: CONNECTIONS,
        per_second: PER_SECOND,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let report = load::connections(&pair.client, plan)?.join()?;
    let refused = Plan {
        target: Pair::server_at(Family::V4, 81),
        connections: REFUSED,
        exchange: Exchange::None,
        ..plan
    };
    let refusals = load::connections(&pair.client, refused)?.join()?;
    let stopped_for = paused.elapsed()?;
    agent.resume()?;
    ensure!(
        report.completed == CONNECTIONS && refusals.errors_of(libc::ECONNREFUSED) == REFUSED,
        "{} connections were clean, {:?}; {:?}",
        report.completed,
        report.errors,
        refusals.errors
    );
    ensure!(
        stopped_for >= Duration::from_secs(5),
        "the agent was stopped for {stopped_for:?} only"
    );

    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let counted = handshakes(&lines, "tcp_handshake_client");
    let told = event_count(&lines, "connect_failed", |_| true);
    let lost = stats(&lines)
        .next_back()
        .and_then(Line::lost_events)
        .context("no stats tell of lost events")?;
    stream::ensure_counted(
        &lines,
        "connects and refusals",
        CONNECTIONS + REFUSED,
        counted + told + lost,
    )?;
    stream::ensure(&lines, lost == 0, || format!("{lost} events were lost"))?;
    // One long window, and its length is said.
    let longest = lines
        .iter()
        .filter_map(|line| line.value()["window_ns"].as_u64())
        .max();
    stream::ensure(
        &lines,
        longest >= Some(stopped_for.as_nanos() as u64),
        || format!("stopped for {stopped_for:?}, and the longest window is {longest:?} ns"),
    )?;
    let windows = sum(&lines, |_| 1);
    stream::ensure(&lines, windows >= 4, || format!("{windows} windows only"))
}
