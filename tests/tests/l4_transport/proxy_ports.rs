//! A proxy has more requests on their way to its server than it has local ports: each takes one as long as it lasts.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::counters;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, HARD};
use osi_tests::proxy::{Haproxy, wrk};
use osi_tests::report;
use osi_tests::scale;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{Line, rows};
use osi_tests::topology::{Family, Pair};

use crate::cascades::told;

const EXPECTED: Expected = Expected {
    cause: "ephemeral_ports_exhausted",
    layer: "L4",
    within: HARD,
    beside: &[],
};

/// Local ports of the proxy.
const PORTS: u64 = 400;
/// Requests more that are on their way, every second.
const MORE: u64 = 16;
/// Longer than the whole scenario: no answer comes before its end.
const SLOW: Duration = Duration::from_secs(90);

#[test]
fn a_proxy_runs_out_of_ports() -> Result<()> {
    let test = "l4_transport::proxy_ports::a_proxy_runs_out_of_ports";
    let needs = ["haproxy", "nginx", "wrk"].map(Need::Program);
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let (front, back) = (
        Pair::client_at(Family::V4, 8080),
        Pair::server_at(Family::V4, 80),
    );
    pair.client.give_out_ports(PORTS)?;
    let nginx = Nginx::start_slow(&pair.server, back)?;
    let proxy = Haproxy::start(&pair.client, front, back)?;
    // As long as a step of the load takes, so that the trend is as steady as it is on a machine at full speed.
    let agent = Agent::watch_every(&pair.client, scale::patience(INTERVAL), &[])?;

    let fault = SystemTime::now();
    let mut load = Vec::new();
    let filter = format!("dst {back}");
    let (mut exhausted, mut most) = (None, 0);
    for second in 1..=(PORTS + too_many()) / MORE {
        load.push(wrk(&pair.server, front, MORE, SLOW)?);
        let until = fault + scale::patience(Duration::from_secs(second));
        while SystemTime::now() < until {
            if exhausted.is_none() {
                most = counters::tcp_sockets(&pair.client, &filter)?.max(most);
                exhausted = (most >= PORTS).then(SystemTime::now);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let exhausted =
        exhausted.with_context(|| format!("the proxy used {most} of its {PORTS} ports"))?;
    // An example and its count may be read in two windows: the first event may be without.
    let refused = agent.wait_for("an example of port_exhausted", INTERVAL * 3, |line| {
        line.value()["kind"] == "port_exhausted" && !line.value()["process"].is_null()
    })?;
    let process = &refused.value()["process"];
    agent.ensure(
        process["pid"] == proxy.pid() && process["comm"] == "haproxy",
        || format!("haproxy, {}, was refused, not {process}", proxy.pid()),
    )?;
    let map = EXPECTED.named(&agent, fault, exhausted)?;
    was_warned(&agent, &map, exhausted)?;
    let critical = agent.wait_for("haproxy as the owner", INTERVAL * 6, |line| {
        line.cause() == Some(EXPECTED.cause)
            && line.verdict()["state"] == "critical"
            && holder(line) == Some((PORTS, proxy.pid()))
    })?;
    let summary = critical.verdict()["summary"].as_str().unwrap_or("");
    agent.ensure(
        critical.verdict()["confidence"] == "certain"
            && summary.contains(&format!("refused: haproxy (pid {})", proxy.pid()))
            && summary.contains(&format!("haproxy (pid {}) holds most", proxy.pid())),
        || format!("the verdict says: {summary}"),
    )?;
    report::say("said", summary)?;
    told(&agent, EXPECTED.cause, &["http_errors"])?;

    drop(load);
    drop(proxy);
    drop(nginx);
    // What begins so many connections takes an emulated CPU's whole time for a moment.
    let beside = if scale::is_slow() {
        &["cpu_starved"]
    } else {
        EXPECTED.beside
    };
    Expected { beside, ..EXPECTED }.stop(agent).map(drop)
}

/// Requests beyond what the proxy can carry: each is refused and comes again at once, which is all that an emulated CPU does
/// then, and answers that wait for it are slow for another reason.
fn too_many() -> u64 {
    if scale::is_slow() {
        2 * MORE
    } else {
        PORTS / 3
    }
}

/// The first verdict was a warning, with seconds left that are near what was left.
fn was_warned(agent: &Agent, map: &Line, exhausted: SystemTime) -> Result<()> {
    let at = map.time()?;
    agent.ensure(map.verdict()["state"] == "warn" && at < exhausted, || {
        format!("there was no warning before the ports ran out: {map}")
    })?;
    let told = agent.lines().into_iter().find_map(|line| {
        let about = line.is_fault_map() && line.cause() == Some(EXPECTED.cause);
        let left = &line.evidence("time_to_full").filter(|_| about)?;
        Some((line.time().ok()?, left / 1e9))
    });
    let (at, told) = told.context("no warning says how much time is left")?;
    let truth = exhausted
        .duration_since(at)
        .map_or(0.0, |left| left.as_secs_f64());
    let first = exhausted.duration_since(map.time()?)?.as_secs_f64();
    report::say(
        "compared",
        &format!("warned {first:.1} s before; told {told:.1} s left when {truth:.1} s were left"),
    )?;
    ensure!(
        (told - truth).abs() <= f64::max(3.0, truth / 3.0),
        "the ports ran out after {truth:.1} s, and the warning said {told:.1} s"
    );
    Ok(())
}

/// Ports and pid of the process that holds most.
fn holder(map: &Line) -> Option<(u64, u32)> {
    let mut rows = rows(map.verdict(), "evidence").filter(|row| row["signal"] == "ports_held");
    let row = rows.next()?;
    let why = row["why"].as_str()?;
    let pid = why.split_once("haproxy (pid ")?.1.split_once(')')?.0;
    Some((row["value"].as_f64()? as u64, pid.parse().ok()?))
}
