//! A web server's worker gets a hundredth of a CPU, and its clients want more.
//!
//! First evidence: the first period in which its cgroup's quota was used up.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::cgroup::CpuGroup;
use osi_tests::daemon::Nginx;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::wait;

const EXPECTED: Expected = Expected {
    cause: "cpu_starved",
    layer: "L7",
    within: STATISTICAL,
    beside: &["application_slow"],
};

const PORT: u16 = 80;
/// The smallest that there is.
const QUOTA: Duration = Duration::from_millis(1);
/// More than the quota is enough for, and fewer in all than fit into a small machine's table of TIME_WAIT.
const PER_SECOND: u64 = 500;
const CONNECTIONS: u64 = 4000;

#[test]
fn cpu_starved() -> Result<()> {
    let test = "l7_application::cpu_starved::cpu_starved";
    let Some(_turn) = skip::ready_to_time(test, &[Need::Program("nginx")])? else {
        return Ok(());
    };
    let Some(group) = CpuGroup::create("starved", QUOTA)? else {
        return skip::skip(test, "no hierarchy of cgroups limits CPU time");
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let nginx = Nginx::start(&pair.server, target)?;
    let [worker] = nginx.workers()?[..] else {
        anyhow::bail!("nginx has more than one worker");
    };
    let agent = Agent::watch(&pair.server)?;

    group.take(worker)?;
    let fault = SystemTime::now();
    let plan = Plan {
        target,
        connections: CONNECTIONS,
        per_second: PER_SECOND,
        connect_timeout: Duration::from_secs(5),
        exchange: Exchange::Http,
    };
    let load = load::connections(&pair.client, plan)?;
    let throttled = || group.throttled();
    let evidence = wait::until_above("throttled periods", 0, Duration::from_secs(5), throttled)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let verdict = map.verdict();
    let process = &verdict["scope"]["process"];
    agent.ensure(process["pid"] == worker, || {
        format!("worker {worker} is throttled, not {process}")
    })?;
    let group_told = rows(verdict, "evidence").find(|row| row["signal"] == "cpu_quota");
    let path = group.path().to_str().context("the path is no text")?;
    agent.ensure(group_told.is_some_and(|row| row["why"] == path), || {
        format!("the quota is that of {path}: {}", verdict["evidence"])
    })?;

    group.lift()?;
    load.join()?;
    EXPECTED.resolves(&agent, &map)?;
    let truth = group.throttled()?;
    drop(nginx);
    let lines = EXPECTED.stop(agent)?;
    let told: f64 = lines
        .iter()
        .filter(|line| line.is_fault_map())
        .flat_map(|line| line.meters("L7", "cpu_throttled"))
        .filter_map(|row| row["used"].as_f64())
        .sum();
    // Periods before the group was found, and before its processes were looked at, are not told.
    stream::ensure(&lines, told > 0.0 && told <= truth as f64, || {
        format!("cpu.stat counts {truth} throttled periods and the agent {told}")
    })
}
