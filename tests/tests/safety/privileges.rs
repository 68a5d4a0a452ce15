//! A running agent holds what it still uses, can not get more, and works; also without root.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::{self, Agent};
use osi_tests::load::{self, Plan};
use osi_tests::netns::Namespace;
use osi_tests::processes::{status, threads};
use osi_tests::skip::{self, Need};
use osi_tests::stream::event_count;
use osi_tests::topology::Pair;

const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_PTRACE: u64 = 1 << 19;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_BPF: u64 = 1 << 39;
/// The process that holds the programs.
const WATCHER: u64 = CAP_NET_ADMIN | CAP_BPF;
/// The one that reads the host.
const HELPER: u64 = CAP_NET_ADMIN | CAP_SYS_PTRACE | CAP_SYS_ADMIN | CAP_DAC_READ_SEARCH;

const REFUSED: u64 = 50;
/// A few windows, should readers be late.
const BLIND: Duration = Duration::from_secs(5);
/// Nobody listens on it.
const PORT: u16 = 4711;

#[test]
fn it_keeps_only_what_it_uses() -> Result<()> {
    let Some(_turn) = skip::ready("safety::privileges::it_keeps_only_what_it_uses", &[])? else {
        return Ok(());
    };
    let agent = Agent::watch_all()?;
    held(&agent, [WATCHER, HELPER])?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    agent.stop().map(drop)
}

/// Interfaces of another namespace than its own get their programs while it runs, and that takes entering it.
#[test]
fn a_namespace_elsewhere_takes_one_more() -> Result<()> {
    let test = "safety::privileges::a_namespace_elsewhere_takes_one_more";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.client)?;
    held(&agent, [WATCHER | CAP_SYS_ADMIN, HELPER])?;
    agent.stop().map(drop)
}

/// Three capabilities and no root: its own namespace is measured, and what it cannot see is said.
#[test]
fn a_user_with_three_capabilities_measures() -> Result<()> {
    let test = "safety::privileges::a_user_with_three_capabilities_measures";
    let Some(_turn) = skip::ready(test, &[Need::Program("setpriv")])? else {
        return Ok(());
    };
    let host = Namespace::create("client")?;
    // Where the build lies, only root may be able to read.
    let program = std::env::temp_dir().join(format!("osi-agent-{}", std::process::id()));
    std::fs::copy(agent::binary()?, &program).context("cannot copy the agent")?;
    let mut starter = host.command("setpriv")?;
    starter.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    starter.args(["--inh-caps", "-all,+bpf,+perfmon,+net_admin"]);
    starter.args(["--ambient-caps", "-all,+bpf,+perfmon,+net_admin"]);
    starter.arg(&program);
    let outcome = measures(starter, &host);
    std::fs::remove_file(program)?;
    outcome
}

fn measures(starter: Command, host: &Namespace) -> Result<()> {
    let agent = Agent::watch_all_by(starter)?;
    held(&agent, [WATCHER, CAP_NET_ADMIN])?;
    // Other tests run beside this one, and it watches all namespaces.
    let inode = host.run(|| Ok(fs::metadata("/proc/thread-self/ns/net")?.ino()))?;
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    load::connections(host, Plan::connects(target, REFUSED, 100))?.join()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    // A window whose readers are late says that instead.
    agent.wait_for("why other namespaces are blind", BLIND, |line| {
        line.is_fault_map()
            && ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"]
                .iter()
                .any(|capability| line.is_blind("L4", &[capability]))
    })?;
    let lines = agent.lines();
    // An event whose example came too late for its window has no flow.
    let told = event_count(&lines, "connect_failed", |event| {
        let flow = &event["flow"];
        event["netns"]["inode"] == inode && (flow.is_null() || flow["dport"] == PORT)
    });
    agent.ensure(told == REFUSED, || {
        format!("{REFUSED} connects were refused and the events count {told}")
    })?;
    agent.stop().map(drop)
}

/// Every thread of both processes: no more than this, and no way to more.
fn held(agent: &Agent, allowed: [u64; 2]) -> Result<()> {
    for (pid, allowed) in agent.processes()?.into_iter().zip(allowed) {
        for thread in threads(pid)? {
            sealed(agent, &thread, allowed)?;
        }
        let first = format!("/proc/{pid}");
        let effective = u64::from_str_radix(&status(Path::new(&first), "CapEff")?, 16)?;
        agent.ensure(effective == allowed, || {
            format!("CapEff of {first} is {effective:x} and not {allowed:x}")
        })?;
    }
    Ok(())
}

fn sealed(agent: &Agent, thread: &Path, allowed: u64) -> Result<()> {
    let name = status(thread, "Name")?;
    for (field, allowed) in [
        ("CapEff", allowed),
        ("CapPrm", allowed),
        ("CapInh", 0),
        ("CapAmb", 0),
    ] {
        let held = u64::from_str_radix(&status(thread, field)?, 16)?;
        agent.ensure(held & !allowed == 0, || {
            format!("{field} of {name} is {held:x}, which is more than {allowed:x}")
        })?;
    }
    for (field, sealed) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        let found = status(thread, field)?;
        agent.ensure(found == sealed, || {
            format!("{field} of {name} is {found} and not {sealed}")
        })?;
    }
    Ok(())
}
