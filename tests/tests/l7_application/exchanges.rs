//! Requests to real servers: each is one wait to be read, one answer, and one wait of the client.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::daemon::Nginx;
use osi_tests::expect;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, rows, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::variant::Choice;

/// Connections with one request each, of both families together.
const SHORT: u64 = 400;
/// Connections that live, and requests on each.
const LONG: u64 = 4;
const REQUESTS: u64 = 20;
/// What the application does with each of these.
const WORK: Duration = Duration::from_millis(100);

#[test]
fn every_request_is_one_of_each() -> Result<()> {
    requests(
        "l7_application::exchanges::every_request_is_one_of_each",
        None,
    )
}

#[test]
fn every_request_by_fentry() -> Result<()> {
    requests(
        "l7_application::exchanges::every_request_by_fentry",
        Some("fentry"),
    )
}

#[test]
fn every_request_by_kprobe() -> Result<()> {
    requests(
        "l7_application::exchanges::every_request_by_kprobe",
        Some("kprobe"),
    )
}

/// Requests of both families, with this variant of the probe or with the best that there is.
fn requests(test: &str, variant: Option<&str>) -> Result<()> {
    let Some(_turn) = skip::ready_to_time(test, &[Need::Program("nginx")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let nginx = [Family::V4, Family::V6].map(|family| {
        let address = Pair::server_at(family, family.pick(80, 81));
        Ok::<_, anyhow::Error>((address, Nginx::start(&pair.server, address)?))
    });
    let choice = Choice::new("exchanges", variant);
    let hosts = [&pair.server, &pair.client];
    let [server_side, client_side] = Agent::watch_both(hosts, INTERVAL, &choice.options())?;
    if let Some(refusal) = choice.refused(&server_side)? {
        return skip::skip(test, &refusal);
    }
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
    answers(test, None)
}

#[test]
fn answers_by_fentry() -> Result<()> {
    answers(
        "l7_application::exchanges::answers_by_fentry",
        Some("fentry"),
    )
}

#[test]
fn answers_by_kprobe() -> Result<()> {
    answers(
        "l7_application::exchanges::answers_by_kprobe",
        Some("kprobe"),
    )
}

/// An application that works for a while before it answers.
fn answers(test: &str, variant: Option<&str>) -> Result<()> {
    let Some(_turn) = skip::ready_to_time(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let server = Server::start(&pair.server, target, Behaviour::Converse)?;
    server.work_for(WORK);
    let choice = Choice::new("exchanges", variant);
    let hosts = [&pair.server, &pair.client];
    let [server_side, client_side] = Agent::watch_both(hosts, INTERVAL, &choice.options())?;
    if let Some(refusal) = choice.refused(&server_side)? {
        return skip::skip(test, &refusal);
    }
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
    working_at_once(&at_server, by_port)?;
    let what = format!("answers at port {}", target.port());
    stream::ensure_counted(&at_server, &what, answers, by_port)
}

/// Requests that were there at a time, by the windows in which they were, are the time that all of them took.
fn working_at_once(lines: &[Line], answers: u64) -> Result<()> {
    let mut spent_s = 0.0;
    for line in lines.iter().filter(|line| line.is_fault_map()) {
        let length_ns = line.value()["window_ns"].as_f64().unwrap_or(0.0);
        let rows = line.meters("L7", "request_concurrency");
        let at_once: f64 = rows.filter_map(|row| row["used"].as_f64()).sum();
        spent_s += at_once * length_ns / 1e9;
    }
    let least = WORK.as_secs_f64() * answers as f64;
    stream::ensure(lines, (least..=least * 1.2).contains(&spent_s), || {
        format!("{answers} answers of {WORK:?} are said to have taken {spent_s} s in all")
    })
}

/// Waits for the last window; the host is well, and each signal counts as many as there were.
fn all_told(agent: Agent, signals: &[&str], offered: u64) -> Result<Vec<Line>> {
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = expect::calm(agent)?;
    for signal in signals {
        stream::ensure_followed(&lines, signal, offered)?;
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
