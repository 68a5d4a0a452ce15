//! As many requests as a client can make: both ends count what it does.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::calm;
use osi_tests::proxy::wrk_answers;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth, sum};
use osi_tests::topology::{Family, Pair};

/// Each has one request on its way at all times.
const CONNECTIONS: u64 = 8;
const DURATION: Duration = Duration::from_secs(5);

#[test]
fn wrk_counts_what_both_ends_count() -> Result<()> {
    let test = "l7_application::http_load::wrk_counts_what_both_ends_count";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("nginx"), Need::Program("wrk")])?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(Family::V4, 80);
    let _nginx = Nginx::start(&pair.server, server)?;
    let agents = [Agent::watch(&pair.client)?, Agent::watch(&pair.server)?];
    let counted = wrk_answers(&pair.client, server, CONNECTIONS, DURATION)?;
    let ended = SystemTime::now();
    for agent in agents {
        agent.wait_for_window(ended, 2)?;
        let lines = calm(agent)?;
        let answers = growth(&lines, "L7", "http_answers");
        let timed = sum(&lines, |map| {
            map.latency("L7", "http_time", "count").unwrap_or(0)
        });
        // What was on its way when wrk's time was over may have been answered.
        let told = counted..=counted + CONNECTIONS;
        stream::ensure(&lines, told.contains(&answers) && timed == answers, || {
            format!(
                "wrk counts {counted} answers on {CONNECTIONS} connections, and the agent {answers}, {timed} of them timed"
            )
        })?;
    }
    Ok(())
}
