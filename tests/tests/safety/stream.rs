//! The shape of the stream as a whole; each line by itself is validated while it is read.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::{self, Agent};
use osi_tests::load::{self, Plan};
use osi_tests::stream::{self, Line, event_count, is_errno};
use osi_tests::topology::{Family, Pair};
use osi_tests::{skip, wait};

#[test]
fn hello_first_windows_in_order_bye_last() -> Result<()> {
    let Some(_turn) = skip::ready("safety::stream::hello_first_windows_in_order_bye_last", &[])?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.client)?;
    agent.wait_for_window(SystemTime::now(), 3)?;
    let lines = agent.stop()?;
    let first = lines.first().map_or("nothing", Line::kind);
    ensure!(first == "hello", "the first line is {first}");
    let windows: Vec<_> = lines
        .iter()
        .filter(|line| line.is_fault_map())
        .map(|line| line.value()["seq"].as_u64())
        .collect();
    let expected: Vec<_> = (1..=windows.len() as u64).map(Some).collect();
    ensure!(windows == expected, "windows are numbered {windows:?}");
    ensure!(
        lines.iter().any(|line| line.kind() == "stats"),
        "no stats line came before bye"
    );
    Ok(())
}

#[test]
fn a_closed_output_ends_it_silently() -> Result<()> {
    let Some(_turn) = skip::ready("safety::stream::a_closed_output_ends_it_silently", &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let mut child = Command::new(agent::binary()?)
        .args(["watch", "--json", "--netns", pair.client.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut reader = BufReader::new(child.stdout.take().context("no output")?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    drop(reader);
    let outcome = wait::until("the agent notices", Duration::from_secs(15), || {
        Ok(child.try_wait()?)
    });
    if outcome.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let mut complaints = String::new();
    child
        .stderr
        .take()
        .context("no standard error")?
        .read_to_string(&mut complaints)?;
    let ended = agent::Ended {
        status: outcome?,
        stdout: first,
        stderr: complaints,
    };
    ensure!(
        ended.code() == 141,
        "a closed output ends with {}: {}",
        ended.code(),
        ended.stderr
    );
    ensure!(
        ended.stderr.is_empty(),
        "it was not silent: {}",
        ended.stderr
    );
    Ok(())
}

/// What happened in a window that SIGINT cut short is told all the same.
#[test]
fn the_last_window_is_told() -> Result<()> {
    let Some(_turn) = skip::ready("safety::stream::the_last_window_is_told", &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch_every(&pair.client, Duration::from_secs(5), &[])?;
    let plan = Plan::connects(Pair::server_at(Family::V4, 81), 25, 100);
    let report = load::connections(&pair.client, plan)?.join()?;
    let refused = report.errors_of(libc::ECONNREFUSED);
    agent.ensure(refused == 25, || {
        format!("the connects ended with {:?}", report.errors)
    })?;
    let lines = agent.stop()?;
    let told = event_count(&lines, "connect_failed", |event| {
        is_errno(event, libc::ECONNREFUSED, "ECONNREFUSED")
    });
    stream::ensure_counted(&lines, "connects refused before SIGINT", 25, told)
}
