//! An application that takes a connection only now and then: they wait as long for it as is told.

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::topology::{Family, Pair};
use osi_tests::{expect, skip, stream};

/// Connections that wait at any time.
const QUEUE: usize = 20;
/// Connections that are taken.
const TAKEN: usize = 120;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(50);

#[test]
fn connections_wait_as_long_as_is_told() -> Result<()> {
    let test = "l5_session::accept_wait::connections_wait_as_long_as_is_told";
    let Some(_turn) = skip::ready_to_time(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let listener = pair.server.run(|| Ok(TcpListener::bind(target)?))?;
    let agent = Agent::watch(&pair.server)?;
    let (since, waits) = pair.client.run(|| take(&listener))?;
    let until = SystemTime::now();
    agent.wait_for_window(until, 1)?;

    // Those that were there from the beginning waited less.
    let steady = &waits[QUEUE..];
    let mean = steady.iter().sum::<Duration>().as_nanos() as f64 / steady.len() as f64;
    let lines = expect::calm(agent)?;
    let mut told = Vec::new();
    for line in lines.iter().filter(|line| line.is_fault_map()) {
        let time = line.time()?;
        if time > since && time <= until {
            let rows = line.meters("L5", "accept_wait");
            let here = rows.filter(|row| row["scope"]["port"] == target.port());
            told.extend(here.filter_map(|row| row["used"].as_f64()));
        }
    }
    // As many wait in each window: those in which more of them are taken count for more.
    let said = told.len() as f64 / told.iter().map(|ns| 1.0 / ns).sum::<f64>();
    // A window has some twenty of them, and one more or less at its ends.
    stream::ensure(&lines, (0.85..=1.15).contains(&(said / mean)), || {
        format!("connections waited {mean:.0} ns on average, the agent says {said:.0}: {told:?}")
    })
}

/// Takes one and makes another: when the first one made was taken, and how long each waited.
fn take(listener: &TcpListener) -> Result<(SystemTime, Vec<Duration>)> {
    let target = listener.local_addr()?;
    let mut waiting = VecDeque::new();
    let connect = |waiting: &mut VecDeque<_>| -> Result<()> {
        let stream = TcpStream::connect(target)?;
        waiting.push_back((Instant::now(), stream));
        Ok(())
    };
    for _ in 0..QUEUE {
        connect(&mut waiting)?;
    }
    let (mut since, mut waits) = (SystemTime::now(), Vec::new());
    for taken in 0..TAKEN {
        let (_accepted, _) = listener.accept()?;
        let (begun, _stream) = waiting.pop_front().context("none waits")?;
        waits.push(begun.elapsed());
        if taken == QUEUE {
            since = SystemTime::now();
        }
        connect(&mut waiting)?;
        std::thread::sleep(PAUSE);
    }
    Ok((since, waits))
}
