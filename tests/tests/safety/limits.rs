//! Limits of memory: either the agent works, or it says what it needs before it has begun anything.

use std::process::Command;
use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::{self, Agent};
use osi_tests::cgroup::MemoryGroup;
use osi_tests::load::{self, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count};
use osi_tests::topology::{Family, Pair};

const NO_CGROUP: &str = "no cgroup hierarchy of this machine limits memory";
/// Less than reading the kernel's types takes.
const TIGHT: u64 = 32 << 20;
/// More than what the message of a refusal asks for.
const ENOUGH: u64 = 64 << 20;
/// Connects to a closed port.
const REFUSED: u64 = 25;

#[test]
fn too_little_memory_is_said_at_once() -> Result<()> {
    let test = "safety::limits::too_little_memory_is_said_at_once";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let Some(group) = MemoryGroup::create("tight", TIGHT)? else {
        return skip::skip(test, NO_CGROUP);
    };
    let [shell, words @ ..] = group.starter()?;
    let ended = agent::run(Command::new(shell).args(words).arg(agent::binary()?).args([
        "watch",
        "--json",
        "--duration",
        "2s",
    ]))?;
    ensure!(
        ended.code() == 1 && ended.stdout.is_empty(),
        "in {TIGHT} bytes it ended with {} after {:?}: {}",
        ended.code(),
        ended.stdout,
        ended.stderr
    );
    ensure!(
        ended
            .stderr
            .contains("limit of this process's cgroup is 32 MiB")
            && ended.stderr.contains("MemoryMax="),
        "it does not say what it lacks: {}",
        ended.stderr
    );
    Ok(())
}

#[test]
fn it_works_in_what_it_asks_for() -> Result<()> {
    let test = "safety::limits::it_works_in_what_it_asks_for";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let Some(group) = MemoryGroup::create("enough", ENOUGH)? else {
        return skip::skip(test, NO_CGROUP);
    };
    works_through(&group.starter()?)?;
    println!("of {ENOUGH} bytes at most {:?} were used", group.peak());
    Ok(())
}

#[test]
fn it_works_with_little_locked_memory() -> Result<()> {
    let test = "safety::limits::it_works_with_little_locked_memory";
    let Some(_turn) = skip::ready(test, &[Need::Program("prlimit")])? else {
        return Ok(());
    };
    works_through(&["prlimit", "--memlock=8388608:8388608"])
}

/// It attaches, and counts exactly.
fn works_through(starter: &[&str]) -> Result<()> {
    let pair = Pair::build()?;
    let agent = Agent::watch_through(starter, &pair.client)?;
    let plan = Plan::connects(Pair::server_at(Family::V4, 81), REFUSED, 100);
    load::connections(&pair.client, plan)?.join()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let complaints = agent.complaints();
    agent.ensure(complaints.is_empty(), || "the agent complained".to_owned())?;
    let lines = agent.stop()?;
    let told = event_count(&lines, "connect_failed", |_| true);
    stream::ensure_counted(&lines, "refused connects", REFUSED, told)
}
