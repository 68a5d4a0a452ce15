//! Requests to real servers: each is one wait to be read, one answer, and one wait of the client.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, rows, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::{expect, kernel};

const SINCE: &str = "data that arrives is told by the kernel since 6.3";

/// Connections with one request each, of both families together.
const SHORT: u64 = 400;
/// Connections that live, and requests on each.
const LONG: u64 = 4;
const REQUESTS: u64 = 50;
/// What the application does with each of these.
const WORK: Duration = Duration::from_millis(20);

#[test]
fn every_request_is_one_of_each() -> Result<()> {
    let test = "l7_application::exchanges::every_request_is_one_of_each";
    let Some(_turn) = skip::ready_to_time(test, &[Need::Program("nginx")])? else {
        return Ok(());
    };
    if !kernel::is_at_least(6, 3)? {
        return skip::skip(test, SINCE);
    }
    let pair = Pair::build()?;
    let nginx = [Family::V4, Family::V6].map(|family| {
        let address = Pair::server_at(family, family.pick(80, 81));
        Ok::<_, anyhow::Error>((address, Nginx::start(&pair.server, address)?))
    });
    let (server_side, client_side) = (Agent::watch(&pair.server)?, Agent::watch(&pair.client)?);
    for started in nginx {
        let (target, server) = started?;
        let plan = Plan {
            target,
            connections: SHORT / 2,
            per_second: 200,
            connect_timeout: Duration::from_secs(2),
            exchange: Exchange::Http,
        };
        let report = load::connections(&pair.client, plan)?.join()?;
        ensure!(report.completed == SHORT / 2, "{:?}", report.errors);
        drop(server);
    }
    all_told(server_side, &["request_dwell", "response_time"], SHORT)?;
    all_told(client_side, &["dependency_time"], SHORT).map(drop)
}

#[test]
fn the_answer_takes_as_long_as_the_application_works() -> Result<()> {
    let test = "l7_application::exchanges::the_answer_takes_as_long_as_the_application_works";
    let Some(_turn) = skip::ready_to_time(test, &[])? else {
        return Ok(());
    };
    if !kernel::is_at_least(6, 3)? {
        return skip::skip(test, SINCE);
    }
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let server = Server::start(&pair.server, target, Behaviour::Converse)?;
    server.work_for(WORK);
    let (server_side, client_side) = (Agent::watch(&pair.server)?, Agent::watch(&pair.client)?);
    let talk = load::conversation(&pair.client, target, LONG, REQUESTS, Duration::ZERO)?;
    let answers = talk.join()?;
    ensure!(answers == LONG * REQUESTS, "{answers} answers came back");
    let at_server = all_told(server_side, &["request_dwell", "response_time"], answers)?;
    let at_client = all_told(client_side, &["dependency_time"], answers)?;
    takes_the_work(&at_server, "response_time")?;
    takes_the_work(&at_client, "dependency_time")?;
    let by_port = sum(&at_server, |map| {
        let port = |row: &&serde_json::Value| {
            row["id"] == "response_time" && row["scope"]["port"] == target.port()
        };
        rows(map.layer("L7"), "latency_by_scope")
            .filter(port)
            .filter_map(|row| row["count"].as_u64())
            .sum()
    });
    stream::ensure(&at_server, by_port == answers, || {
        format!(
            "{answers} answers, {by_port} of them at port {}",
            target.port()
        )
    })
}

/// Waits for the last window; the host is well, and each signal counts as many as there were.
fn all_told(agent: Agent, signals: &[&str], offered: u64) -> Result<Vec<Line>> {
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = expect::calm(agent)?;
    for signal in signals {
        let counted = sum(&lines, |map| {
            map.latency("L7", signal, "count").unwrap_or(0)
        });
        stream::ensure_counted(&lines, signal, offered, counted)?;
        let open = lines.iter().rfind(|line| line.is_fault_map());
        let in_flight = open.and_then(|map| map.latency("L7", signal, "in_flight"));
        stream::ensure(&lines, in_flight == Some(0), || {
            format!("{signal}: {in_flight:?} are said to be in flight at the end")
        })?;
    }
    Ok(lines)
}

/// In every window with some, the median is what the application works, in a bucket that is 9 % wide, or the next one.
fn takes_the_work(lines: &[Line], signal: &str) -> Result<()> {
    let least = WORK.as_nanos() as u64;
    let most = least * 120 / 100;
    let windows = lines.iter().filter(|line| line.is_fault_map());
    let medians: Vec<_> = windows
        .filter_map(|map| map.latency("L7", signal, "p50_ns"))
        .collect();
    let right = medians.iter().all(|ns| (least..=most).contains(ns));
    stream::ensure(lines, right && !medians.is_empty(), || {
        format!("{signal} of {WORK:?} has medians of {medians:?} ns")
    })
}
