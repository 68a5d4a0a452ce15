//! A server with 32 descriptors that closes nothing: it can not accept any more, and then its queue overflows; or it has used nine
//! tenths of them, and nobody is refused yet.
//!
//! First evidence: the server has as many descriptors as it may.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, HARD};
use osi_tests::lab_program::{Holder, Prefork, Serving};
use osi_tests::machine::Setting;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, load, processes, wait};

const EXPECTED: Expected = Expected {
    cause: "file_descriptors_exhausted",
    layer: "L5",
    within: HARD,
    beside: &["accept_queue_overflow"],
};

const PORT: u16 = 7;
const DESCRIPTORS: u64 = 32;
/// Room for a burst of handshakes.
const BACKLOG: u32 = 16;
const PATIENCE: Duration = Duration::from_millis(3500);
/// They fill the descriptors and the queue, and then some.
const CONNECTS: u64 = 64;

#[test]
fn file_descriptors_exhausted() -> Result<()> {
    let test = "l5_session::file_descriptors_exhausted::file_descriptors_exhausted";
    let needs = [Need::Program("nstat"), Need::Program("prlimit")];
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let agent = Agent::watch(&pair.server)?;
    let server = serve(&pair, target)?;

    let fault = SystemTime::now();
    let connects = load::connect_all_at_once(&pair.client, target, CONNECTS, PATIENCE)?;
    let evidence = wait::until_above("descriptors", DESCRIPTORS - 1, PATIENCE, || {
        processes::descriptors(server.pid())
    })?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let process = &map.verdict()["scope"]["process"];
    let started = processes::start_time(server.pid())?;
    agent.ensure(
        process["pid"] == server.pid() && process["start_time"] == started,
        || {
            format!(
                "process {} is out of descriptors, not {process}",
                server.pid()
            )
        },
    )?;
    // It may have been handed some down with numbers above the limit.
    let used = processes::descriptors(server.pid())?;
    let full = agent.wait_for("the full meter", INTERVAL * 3, |line| {
        line.meters("L5", "process_descriptors")
            .any(|row| row["used"] == used as f64 && row["capacity"] == DESCRIPTORS as f64)
    })?;
    let ratio = &full.layer("L5")["saturation_ratio"];
    agent.ensure(ratio.as_f64() >= Some(1.0), || {
        format!("the layer is full, not {ratio}")
    })?;

    let overflows = || counters::snmp(&pair.server, "TcpExtListenOverflows");
    wait::until_above("overflows", 0, Duration::from_secs(2), overflows)?;
    let map = agent.wait_for("its symptom", INTERVAL * 5, |line| {
        line.is_fault_map()
            && line.cause() == Some(EXPECTED.cause)
            && rows(line.verdict(), "symptoms").any(|row| row["cause"] == "accept_queue_overflow")
    })?;
    let others = rows(map.verdict(), "other_roots").count();
    agent.ensure(others == 0, || format!("{others} other roots are named"))?;

    connects.join().context("the connects")?;
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    let pid = map.verdict()["scope"]["process"]["pid"].clone();
    let lines = EXPECTED.stop(agent)?;
    let told = event_count(&lines, "fd_exhausted", |event| {
        event["errno"] == "EMFILE" && event["process"]["pid"] == pid
    });
    stream::ensure(&lines, told == 1, || {
        format!("the last descriptor went once, and events tell of it {told} times")
    })
}

/// The server with few descriptors.
fn serve(pair: &Pair, target: SocketAddr) -> Result<Prefork> {
    let limit = format!("--nofile={DESCRIPTORS}");
    let program = env!("CARGO_BIN_EXE_hold-accepted");
    let serving = Serving {
        backlog: BACKLOG,
        workers: 0,
        accepts: 0,
    };
    Prefork::start(&pair.server, &["prlimit", &limit], program, target, serving)
}

/// The fewest of [`DESCRIPTORS`] that are nine tenths of them.
const MANY: u64 = 29;
/// While it waits in `accept()`, the server has reserved one more for the next connection: it is in use and in no list, and the
/// kernel counts it since 6.2.
const RESERVED: u64 = 1;

#[test]
fn few_are_left() -> Result<()> {
    let test = "l5_session::file_descriptors_exhausted::few_are_left";
    let Some(_turn) = skip::ready_to_time(test, &[Need::Program("prlimit")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let agent = Agent::watch(&pair.server)?;
    let server = serve(&pair, target)?;
    let at_rest = processes::descriptors(server.pid())?;
    let program = env!("CARGO_BIN_EXE_hold-connections");
    let fewer = MANY - 1 - RESERVED;
    let before = Holder::start(&pair.client, program, target, fewer - at_rest)?;
    let used = || processes::descriptors(server.pid());
    wait::until_above("descriptors", fewer - 1, PATIENCE, used)?;
    // A pass over all processes has seen it since.
    let calm = agent.wait_for_window(SystemTime::now(), 3)?;
    agent.ensure(calm.verdict()["state"] == "ok", || {
        format!("less than nine tenths are in use, and {calm}")
    })?;

    let fault = SystemTime::now();
    let last = Holder::start(&pair.client, program, target, MANY - fewer)?;
    let evidence = wait::until_above("descriptors", MANY - 1, PATIENCE, used)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let verdict = map.verdict();
    agent.ensure(
        verdict["state"] == "warn" && verdict["scope"]["process"]["pid"] == server.pid(),
        || format!("process {} has few left, not {verdict}", server.pid()),
    )?;
    let told = verdict["evidence"][0]["value"].as_f64();
    let is_right = [MANY, MANY + RESERVED].map(|used| Some(used as f64));
    agent.compare(is_right.contains(&told), || {
        format!("{MANY} of {DESCRIPTORS} are listed, and {told:?} are told")
    })?;

    drop((last, before));
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let refused = event_count(&lines, "fd_exhausted", |_| true);
    stream::ensure(&lines, refused == 0, || {
        format!("descriptors are left, and events tell {refused} times that the last one went")
    })
}

/// The most files that the host opens for who is not privileged, and how many are open.
const MOST: &str = "fs/file-max";
const OPEN: &str = "/proc/sys/fs/file-nr";
/// Room that is left before, and files that take it.
const ROOM: u64 = 200;
const FILES: u64 = 400;

#[test]
fn the_host_opens_no_more() -> Result<()> {
    let test = "l5_session::file_descriptors_exhausted::the_host_opens_no_more";
    let needs = [Need::OwnMachine("fs.file-max"), Need::Program("setpriv")];
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let agent = Agent::watch_all()?;
    let fault = SystemTime::now();
    let most = open_files()? + ROOM;
    let limit = Setting::change(MOST, &most.to_string())?;
    // Who may administrate the system is not refused.
    let held = (0..FILES).map(|_| File::open("/dev/null"));
    let held = held.collect::<std::io::Result<Vec<_>>>()?;
    let evidence = wait::until_above("open files", most - 1, PATIENCE, open_files)?;
    let mut anybody = Command::new("setpriv");
    let anybody = anybody.args(["--reuid=65534", "--clear-groups", "true"]);
    let refused = anybody.env("LC_ALL", "C").output()?;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    // The program's loader may be the first that is refused: it says the number of ENFILE.
    let says_so = ["Too many open files in system", "Error 23"].map(|text| error.contains(text));
    agent.ensure(says_so.contains(&true), || {
        format!("{most} files are open, and a program that starts says {error:?}")
    })?;

    let map = EXPECTED.named(&agent, fault, evidence)?;
    let verdict = map.verdict();
    agent.ensure(
        verdict["state"] == "critical" && verdict["scope"]["kind"] == "host",
        || format!("the host is out of files, not {verdict}"),
    )?;
    let (told, open) = (verdict["evidence"][0]["value"].as_f64(), open_files()?);
    agent.compare(told >= Some(most as f64), || {
        format!("{open} files are open of {most}, and {told:?} are told")
    })?;
    drop(held);
    limit.restore()?;
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}

fn open_files() -> Result<u64> {
    let text = fs::read_to_string(OPEN)?;
    let open = text.split_ascii_whitespace().next();
    Ok(open.context("no number of open files")?.parse()?)
}
