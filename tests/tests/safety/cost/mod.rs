//! What each hook costs: how often its program runs for what the lab does, exactly, and how long a run takes beside that of an
//! empty program on the same hook.
//!
//! Times are said and never judged: they are this machine's, and only the difference to the empty twin means something.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::bpf::{Objects, Runs};
use osi_tests::load::{self, Datagrams};
use osi_tests::netns::Namespace;
use osi_tests::{report, scale};

mod calls;
mod exchanges;
mod packets;

/// Connections that ask one request after the other, and how many.
const TALKERS: u64 = 4;
const REQUESTS: u64 = 1000;
const DATAGRAMS: u64 = 5000;

/// Sends [`DATAGRAMS`] of them.
fn send(sender: &Namespace, target: SocketAddr) -> Result<()> {
    let plan = Datagrams {
        target,
        count: DATAGRAMS,
        size: 500,
        burst: 50,
        every: Duration::from_millis(10),
    };
    load::datagrams(sender, plan)?.join()
}

/// Does something; the runs of a program and of its twin must be the same, and at least one for each thing that is done.
fn beside(
    programs: &[u64],
    program: &str,
    things: u64,
    twin: impl Fn() -> Result<Runs>,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let before = (of_name(programs, program)?, twin()?);
    work()?;
    let after = (of_name(programs, program)?, twin()?);
    judge(
        program,
        things,
        &after.0.since(&before.0),
        &after.1.since(&before.1),
    )
}

fn judge(hook: &str, things: u64, ours: &Runs, twin: &Runs) -> Result<()> {
    let text = format!(
        "{hook}: {things} done, {} runs ({} missed) and {} of the empty twin; {} ns a run, the twin {}, net {}",
        ours.count,
        ours.missed,
        twin.count,
        ours.each_ns(),
        twin.each_ns(),
        ours.each_ns().saturating_sub(twin.each_ns())
    );
    report::say("cost", &text)?;
    // Who is interrupted in a program calls it in vain: a slow machine's programs are long enough for that.
    let calls = |runs: &Runs| {
        if scale::is_slow() {
            runs.count + runs.missed
        } else {
            runs.count
        }
    };
    let (ours, twin) = (calls(ours), calls(twin));
    // Counters are read one after the other, and the machine's own connections go on meanwhile.
    ensure!(
        ours >= things && ours.abs_diff(twin) <= things / 50,
        "{text}"
    );
    Ok(())
}

fn programs(agent: &Agent) -> Result<Vec<u64>> {
    Ok(Objects::held_by(agent.pid())?
        .programs
        .into_iter()
        .collect())
}

/// What was counted of a program by its name.
fn of_name(programs: &[u64], name: &str) -> Result<Runs> {
    Runs::of(id_of(programs, name)?)
}

/// A program by its name, of which the kernel keeps 15 bytes; some versions of bpftool take the whole of it from the types.
fn id_of(programs: &[u64], name: &str) -> Result<u64> {
    let short = &name[..name.len().min(15)];
    let mut found = None;
    for id in programs {
        let runs = Runs::of(*id)?;
        if runs.name == name {
            return Ok(*id);
        }
        if runs.name == short {
            found = Some(*id);
        }
    }
    found.with_context(|| format!("the agent holds no program {name}"))
}
