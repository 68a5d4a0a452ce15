//! Connections that were held for a known time.

use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, expect, wait};

const SESSIONS: usize = 20;
const HELD: Duration = Duration::from_millis(700);

#[test]
fn both_ends_live_as_long_as_the_client_holds_them() -> Result<()> {
    let test = "l5_session::session_lifetime::both_ends_live_as_long_as_the_client_holds_them";
    let Some(_turn) = skip::ready(test, &[Need::Program("ss")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let agents = [Agent::watch(&pair.client)?, Agent::watch(&pair.server)?];
    let (begun, least) = pair.client.run(|| {
        let begun = Instant::now();
        let open = |_| TcpStream::connect(target);
        let sessions = (0..SESSIONS).map(open).collect::<Result<Vec<_>, _>>()?;
        let opened = Instant::now();
        std::thread::sleep(HELD);
        let least = opened.elapsed();
        drop(sessions);
        Ok((begun, least))
    })?;
    for host in [&pair.client, &pair.server] {
        let states =
            "state established state fin-wait-1 state fin-wait-2 state close-wait state last-ack";
        wait::until("all are closed", Duration::from_secs(5), || {
            Ok((counters::tcp_sockets(host, states)? == 0).then_some(()))
        })?;
    }
    let most = begun.elapsed();
    drop(server);
    for agent in agents {
        agent.wait_for_window(SystemTime::now(), 1)?;
        let lines = expect::calm(agent)?;
        let lived = |figure| {
            sum(&lines, |map| {
                map.latency("L5", "session_lifetime", figure).unwrap_or(0)
            })
        };
        stream::ensure_counted(&lines, "sessions", SESSIONS as u64, lived("count"))?;
        let medians = lines.iter().filter(|line| line.is_fault_map());
        let medians: Vec<_> = medians
            .filter_map(|map| map.latency("L5", "session_lifetime", "p50_ns"))
            .collect();
        // In a bucket that is 9 % wide, of which the upper end is told.
        let (least, most) = (least.as_nanos() as u64, most.as_nanos() as u64 * 110 / 100);
        let right = medians.iter().all(|ns| (least..=most).contains(ns));
        stream::ensure(&lines, right && !medians.is_empty(), || {
            format!("held for {least} to {most} ns, the median is told as {medians:?}")
        })?;
    }
    Ok(())
}
