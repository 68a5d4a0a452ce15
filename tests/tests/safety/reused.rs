//! A process id that is given again at once: an event names the process that acted, never the one that has its number now.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use osi_tests::agent::Agent;
use osi_tests::lab_program::Holder;
use osi_tests::skip;
use osi_tests::stream;
use osi_tests::topology::{Family, Pair};

/// Failed connects of each process: both together are no more than a window sends examples of.
const CONNECTS: u64 = 2;
const NAMES: [&str; 2] = ["osi-first", "osi-second"];
/// Other processes of the machine take numbers, too.
const TRIES: u64 = 5;
/// Long enough for both processes to live in the same one.
const WINDOW: Duration = Duration::from_secs(10);
/// Numbers that are used up within seconds.
const MOST_PIDS: u32 = 65_536;

#[test]
fn each_process_answers_for_its_own() -> Result<()> {
    let test = "safety::reused::each_process_answers_for_its_own";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let pids: u32 = std::fs::read_to_string("/proc/sys/kernel/pid_max")?
        .trim()
        .parse()?;
    if pids > MOST_PIDS {
        let reason = format!("it takes too long until one of {pids} process ids is given again");
        return skip::skip(test, &reason);
    }
    let directory = Directory::create()?;
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 81);
    let agent = Agent::watch_every(&pair.client, Duration::from_secs(10), &[])?;
    let run = |name| {
        let program = directory.program(name)?;
        let holder = Holder::start(&pair.client, &program, target, CONNECTS)?;
        ensure!(
            holder.refused == CONNECTS,
            "{} were refused",
            holder.refused
        );
        Ok(holder.pid())
    };
    for tries in 1..=TRIES {
        let before = next_id()?;
        let first = run(NAMES[0])?;
        let again = first == before + 1 && use_up_to(before, pids)?;
        let second = run(NAMES[1])?;
        if !again || second != first {
            let now = SystemTime::now();
            agent.wait_for("the end of a window", 2 * WINDOW, |line| {
                line.is_fault_map() && line.time().is_ok_and(|end| end >= now)
            })?;
            continue;
        }
        let lines = agent.stop()?;
        let mut told: BTreeMap<&str, u64> = BTreeMap::new();
        let mut started = BTreeSet::new();
        let mut all = 0;
        for event in lines.iter().map(stream::Line::value) {
            if event["kind"] != "connect_failed" {
                continue;
            }
            let count = event["count"].as_u64().unwrap_or(0);
            all += count;
            if event["process"]["pid"] == first {
                *told
                    .entry(event["process"]["comm"].as_str().unwrap_or("-"))
                    .or_default() += count;
                started.extend(event["process"]["start_time"].as_u64());
            }
        }
        let expected = NAMES.map(|name| (name, CONNECTS)).into();
        return stream::ensure(
            &lines,
            told == expected && started.len() == NAMES.len() && all == 2 * CONNECTS * tries,
            || {
                format!(
                    "process {first} was {expected:?}, and is told as {told:?}, started at {started:?}; in {tries} tries {all} failures are told"
                )
            },
        );
    }
    bail!("in {TRIES} tries nobody got the number of the one before")
}

/// Takes numbers until `id` was one of them; false when somebody else took it.
fn use_up_to(id: u32, pids: u32) -> Result<bool> {
    for _ in 0..pids {
        if next_id()? == id {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the next number, for a moment: threads share theirs with processes.
fn next_id() -> Result<u32> {
    let id = std::thread::spawn(rustix::thread::gettid).join();
    let id = id.ok().context("a thread panicked")?.as_raw_nonzero().get();
    Ok(u32::try_from(id)?)
}

/// A directory of programs under names of ours.
struct Directory(PathBuf);

impl Directory {
    fn create() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("osi-{}-reused", std::process::id()));
        std::fs::create_dir_all(&path)?;
        let directory = Self(path);
        for name in NAMES {
            symlink(
                env!("CARGO_BIN_EXE_hold-connections"),
                directory.0.join(name),
            )?;
        }
        Ok(directory)
    }

    fn program(&self, name: &str) -> Result<String> {
        let path = self.0.join(name).into_os_string().into_string();
        path.ok().context("the path is no text")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}
