//! Requests of real clients to a real server: each is counted by what became of it, on the side that asks and on the side that
//! serves.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::grid::{FINE, Waits, agree};
use osi_tests::http::{Told, browse, curl, pipeline};
use osi_tests::netns::Namespace;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, growth, rows, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::{load, scale};
use serde_json::Value;

const NEEDS: [Need; 2] = [Need::Program("nginx"), Need::Program("curl")];

/// Requests that are sent before the first answer is read. Of more, a slow device makes some share a segment: while two of a
/// connection wait in it, TCP sends no further one, and what is written meanwhile is added to the one that waits
/// (`tcp_small_queue_check`).
const PIPELINED: u64 = 3;
/// How long the server works on a request, usually and on those that are slow, and how many there are of either: of what the client
/// and the device add to it, some hundred microseconds, a bucket has to hold all.
const WORK: [(Duration, u64); 2] = [
    (Duration::from_millis(40), 90),
    (Duration::from_millis(130), 10),
];
/// The same where they add some milliseconds.
const EMULATED: [(Duration, u64); 2] = [
    (Duration::from_millis(200), 90),
    (Duration::from_millis(650), 10),
];
/// All of these lie within one, so that its quantiles are those of the client's waits.
const WINDOW: Duration = Duration::from_secs(12);

fn exact(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    // An address that begins like a header of IP is one all the same.
    let number = family.pick("46", "66");
    for (host, last) in [(&pair.client, 1), (&pair.server, 2)] {
        let address = format!("{number}:00:00:00:00:0{last}");
        host.ip(&["link", "set", "eth0", "address", &address])?;
    }
    // What is written while the link is busy would wait for more and share a segment with it (`tcp_autocorking`).
    for host in [&pair.client, &pair.server] {
        host.set_sysctl("net/ipv4/tcp_autocorking", "0")?;
    }
    let server = Pair::server_at(family, 8600);
    let _nginx = Nginx::start_with_errors(&pair.server, server)?;
    let agents = [Agent::watch(&pair.client)?, Agent::watch(&pair.server)?];
    let mut told = Told::default();
    let continued = ["-H", "Expect: 100-continue", "--data", "much"];
    for (path, count, options) in [
        ("/", 30, &[][..]),
        ("/301", 5, &[]),
        ("/404", 20, &[]),
        ("/500", 7, &[]),
        ("/", 8, &["--head"]),
        ("/", 6, &continued),
        ("/404", 3, &["--http1.0"]),
    ] {
        told.add(curl(&pair.client, server, path, count, options)?);
    }
    for in_one in [false, true] {
        let answers = pipeline(&pair.client, server, PIPELINED, in_one)?;
        ensure!(answers == 1 + PIPELINED, "{answers} answers came");
        *told.codes.entry(200).or_default() += answers;
    }
    ensure!(told.answered() == 79 + 2 * (1 + PIPELINED), "{told:?}");
    for agent in agents {
        agent.wait_for_window(SystemTime::now(), 2)?;
        is_told(&agent.stop()?, &told, server.port())?;
    }
    Ok(())
}

/// The agent counts what the client does, where it belongs.
fn is_told(lines: &[Line], told: &Told, port: u16) -> Result<()> {
    let grown = |id| growth(lines, "L7", id);
    let (answers, wrong, failed) = (
        grown("http_answers"),
        grown("http_client_errors"),
        grown("http_errors"),
    );
    stream::ensure(
        lines,
        (answers, wrong, failed) == (told.answered(), told.of(404), told.of(500)),
        || format!("{told:?}, and the agent {answers}, of them {wrong} 4xx and {failed} 5xx"),
    )?;
    // Of those that came in one segment, the first is seen.
    let untimed = PIPELINED - 1;
    let of_times = |figure| {
        sum(lines, |map| {
            map.latency("L7", "http_time", figure).unwrap_or(0)
        })
    };
    let (timed, unmeasured) = (of_times("count"), of_times("unmeasured"));
    stream::ensure(
        lines,
        (timed, unmeasured) == (answers - untimed, untimed),
        || format!("{timed} times of {answers} answers, and {unmeasured} are not known"),
    )?;
    let lost = grown("http_no_answer");
    stream::ensure(lines, lost == 0, || format!("{lost} had no answer"))?;
    stream::ensure_none_in_flight(lines, "L7", "http_time")?;
    for (code, offered) in [("404", told.of(404)), ("500", told.of(500))] {
        let of_code = |event: &Value| {
            event["reason"] == code
                && event["flow"]["dport"] == port
                && (event["name"].is_null() || event["name"] == format!("GET /{code}"))
        };
        let is_whole = |event: &Value| event["reason"] == code;
        let (all, right) = (
            event_count(lines, "http_error", is_whole),
            event_count(lines, "http_error", |event| {
                of_code(event) || event["flow"].is_null() && is_whole(event)
            }),
        );
        stream::ensure_counted(lines, code, offered, all)?;
        stream::ensure_counted(lines, "of these as they were asked", offered, right)?;
    }
    Ok(())
}

#[test]
fn every_request_is_counted_as_the_client_counts_it() -> Result<()> {
    let test = "l7_application::http::every_request_is_counted_as_the_client_counts_it";
    exact(test, Family::V4)
}

#[test]
fn every_request_over_ipv6_is_counted_as_well() -> Result<()> {
    let test = "l7_application::http::every_request_over_ipv6_is_counted_as_well";
    exact(test, Family::V6)
}

#[test]
fn an_answer_takes_as_long_as_curl_says() -> Result<()> {
    let test = "l7_application::http::an_answer_takes_as_long_as_curl_says";
    let Some(_turn) = skip::ready_to_time(test, &NEEDS[1..])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 80);
    let server = Server::start(&pair.server, target, Behaviour::Web)?;
    let interval = scale::patience(WINDOW);
    let agents = Agent::watch_both([&pair.client, &pair.server], interval, &[])?;
    let work = if scale::is_slow() { EMULATED } else { WORK };
    let mut waited = Histogram::<u64>::new(3)?;
    for (time, count) in work {
        server.work_for(time);
        for wait in curl(&pair.client, target, "/", count, &[])?.waited {
            waited.record(wait.as_nanos() as u64)?;
        }
    }
    for agent in agents {
        let map = agent.wait_for("the client's window", WINDOW * 2, |line| {
            line.is_fault_map() && line.latency("L7", "http_time", "count") > Some(0)
        })?;
        let count = map.latency("L7", "http_time", "count");
        agent.ensure(count == Some(waited.len()), || {
            format!("curl counts {}, and the agent {count:?}", waited.len())
        })?;
        for ((figure, quantile), (time, _)) in
            [("p50_ns", 0.5), ("p99_ns", 0.99)].into_iter().zip(work)
        {
            let waits = Waits {
                least: time.as_nanos() as u64,
                client: waited.value_at_quantile(quantile),
                agent: map.latency("L7", "http_time", figure).unwrap_or(0),
            };
            agree(&agent, &format!("http_time {figure}"), waits, FINE)?;
        }
        osi_tests::expect::calm(agent)?;
    }
    Ok(())
}

#[test]
fn a_connection_that_ends_first_leaves_its_request_without_an_answer() -> Result<()> {
    let test =
        "l7_application::http::a_connection_that_ends_first_leaves_its_request_without_an_answer";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 80);
    let server = Server::start(&pair.server, target, Behaviour::Hold)?;
    let agent = Agent::watch(&pair.client)?;
    let asked = load::ask(&pair.client, target, 9)?;
    let waiting = agent.wait_for("requests in flight", Duration::from_secs(4), |line| {
        line.is_fault_map() && line.latency("L7", "http_time", "in_flight") == Some(9)
    })?;
    let oldest = waiting.latency("L7", "http_time", "oldest_age_ns");
    agent.ensure(oldest > Some(0), || format!("the oldest waits {oldest:?}"))?;
    drop(server);
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    drop(asked);
    stream::ensure_counted(
        &lines,
        "requests",
        9,
        growth(&lines, "L7", "http_no_answer"),
    )?;
    stream::ensure_none_in_flight(&lines, "L7", "http_time")?;
    let told = event_count(&lines, "http_error", |event| event["reason"] == "no_answer");
    stream::ensure_counted(&lines, "events", 9, told)
}

/// Over lo both sides are here: what is asked is what is served, each once.
#[test]
fn a_server_on_this_host_asks_and_serves() -> Result<()> {
    let test = "l7_application::http::a_server_on_this_host_asks_and_serves";
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let host = Namespace::create("client")?;
    let server = ([127, 0, 0, 1], 80).into();
    let _nginx = Nginx::start_with_errors(&host, server)?;
    let agent = Agent::watch_with(&host, &["--no-names"])?;
    let told = browse(&host, server, "/404", 20, 40)?.join()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = osi_tests::expect::calm(agent)?;
    for kind in ["peer", "listener"] {
        let of_kind = |row: &&Value| row["id"] == "http_answers" && row["scope"]["kind"] == kind;
        let counted = sum(&lines, |map| {
            let counters = rows(map.layer("L7"), "counters").filter(of_kind);
            counters.filter_map(|row| row["delta"].as_u64()).sum()
        });
        stream::ensure_counted(&lines, kind, told.of(404), counted)?;
    }
    let nameless = event_count(&lines, "http_error", |event| event["name"].is_null());
    stream::ensure_counted(&lines, "events without a name", 2 * told.of(404), nameless)
}
