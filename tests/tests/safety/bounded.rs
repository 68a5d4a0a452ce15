//! Memory and descriptors stay what they are, whatever comes and goes; what falls out of a bound is said.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::bpf::Objects;
use osi_tests::netns::Namespace;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, rows, stats};
use osi_tests::{link, processes, report, wait};

/// More than the map of peers holds, many times over.
const PEERS: u32 = 100_000;
/// Memory that a window's own lists may take for a while.
const ROOM: u64 = 6 << 20;
const NAMESPACES: u64 = 200;
/// What the watcher may take for a moment, also where the kernel has no Landlock and the loader reads all types.
const STARTING: u64 = 48 << 20;
/// What both processes may take; the half of it is this program, which they share.
const RUNNING: u64 = 24 << 20;

#[test]
fn a_hundred_thousand_peers_take_no_more_memory() -> Result<()> {
    let test = "safety::bounded::a_hundred_thousand_peers_take_no_more_memory";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let host = Namespace::create("client")?;
    let agent = Agent::watch(&host)?;
    // The first half warms up, the second must be free.
    refuse_each(&host, 0..PEERS / 2)?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let before = resident(&agent)?;
    refuse_each(&host, PEERS / 2..PEERS)?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let after = resident(&agent)?;
    agent.ensure(after <= before + ROOM, || {
        format!("{PEERS} peers took {before} bytes and then {after}")
    })?;

    let lines = agent.stop()?;
    let told = event_count(&lines, "connect_failed", |_| true);
    stream::ensure(&lines, told == u64::from(PEERS), || {
        format!("{PEERS} connects were refused and the events count {told}")
    })?;
    let mut maps = lines.iter().filter(|line| line.is_fault_map());
    let said = maps.any(|map| map.is_blind("L4", &["too many peers"]));
    stream::ensure(&lines, said, || {
        "the map of peers was full and no fault map says so".to_owned()
    })?;
    let bytes: Vec<_> = stats(&lines)
        .map(|line| line.value()["map_bytes"].as_u64())
        .collect();
    ensure!(
        bytes.windows(2).all(|pair| pair[0] == pair[1]),
        "the maps' memory changed: {bytes:?}"
    );
    for fill in stats(&lines).flat_map(|line| rows(line.value(), "map_fill")) {
        ensure!(
            fill["used"].as_u64() <= fill["capacity"].as_u64(),
            "a map holds more than it can: {fill}"
        );
    }
    Ok(())
}

/// The kernel's types are several times what is kept of them.
#[test]
fn starting_takes_little_more_memory_than_running() -> Result<()> {
    let test = "safety::bounded::starting_takes_little_more_memory_than_running";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let host = Namespace::create("client")?;
    let agent = Agent::watch(&host)?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let [watcher, helper] = agent.processes()?;
    let (most, both) = (processes::most_resident(watcher)?, resident(&agent)?);
    let told = format!(
        "the watcher took at most {most} bytes, the helper {}, and both take {both}",
        processes::most_resident(helper)?
    );
    report::say("memory", &told)?;
    agent.ensure(most <= STARTING && both <= RUNNING, || told.clone())?;
    agent.stop().map(drop)
}

#[test]
fn the_memory_of_the_maps_is_what_bpftool_says() -> Result<()> {
    let test = "safety::bounded::the_memory_of_the_maps_is_what_bpftool_says";
    let Some(_turn) = skip::ready(test, &[Need::Program("bpftool")])? else {
        return Ok(());
    };
    let host = Namespace::create("client")?;
    let agent = Agent::watch(&host)?;
    let held = Objects::held_by(agent.pid())?;
    let truth = held.map_bytes()?;
    let lines = agent.stop()?;
    let told = stats(&lines)
        .next_back()
        .and_then(|line| line.value()["map_bytes"].as_u64())
        .context("stats tell no map_bytes")?;
    stream::ensure(&lines, truth > 0 && told == truth, || {
        format!(
            "bpftool adds {} maps up to {truth} bytes, and the agent tells {told}",
            held.maps.len()
        )
    })
}

#[test]
fn namespaces_that_come_and_go_leave_nothing() -> Result<()> {
    let test = "safety::bounded::namespaces_that_come_and_go_leave_nothing";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let agent = Agent::watch_all()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let before = fewest_descriptors(&agent)?;
    for number in 0..NAMESPACES {
        let left = Namespace::create("left")?;
        let right = Namespace::create("right")?;
        link::add_veth((&left, "eth0"), (&right, "eth0"))?;
        left.ip(&["address", "add", "10.1.0.1/24", "dev", "eth0"])?;
        link::set_up(&left, "eth0", true)?;
        // Some live long enough to be seen, most do not.
        if number % 50 == 0 {
            agent.wait_for_window(SystemTime::now(), 1)?;
        }
    }
    agent.wait_for_window(SystemTime::now(), 2)?;
    let after = fewest_descriptors(&agent)?;
    agent.ensure(after <= before, || {
        format!("{NAMESPACES} pairs of namespaces came and went, and descriptors went from {before} to {after}")
    })?;
    let complaints = agent.complaints();
    agent.ensure(complaints.is_empty(), || {
        format!("namespaces that go are nothing to complain of: {complaints}")
    })?;
    agent.stop().map(drop)
}

/// One connect to each of many addresses of the loopback network, on a port that nobody listens on.
fn refuse_each(host: &Namespace, numbers: std::ops::Range<u32>) -> Result<()> {
    host.run(|| {
        for number in numbers {
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number);
            let target = SocketAddr::from((address, 81));
            let outcome = TcpStream::connect_timeout(&target, Duration::from_secs(1));
            ensure!(outcome.is_err(), "{target} answers");
        }
        Ok(())
    })
}

/// Resident memory of both processes.
fn resident(agent: &Agent) -> Result<u64> {
    agent
        .processes()?
        .into_iter()
        .map(processes::resident)
        .sum()
}

/// The readers open sockets in every window and close them again: the fewest of many looks are those that stay.
fn fewest_descriptors(agent: &Agent) -> Result<usize> {
    let processes = agent.processes()?;
    let mut fewest = [usize::MAX; 2];
    let mut looks = 0;
    wait::until("descriptors are counted", Duration::from_secs(10), || {
        for (fewest, pid) in fewest.iter_mut().zip(processes) {
            let now = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
            *fewest = now.min(*fewest);
        }
        looks += 1;
        Ok((looks >= 400).then(|| fewest.iter().sum()))
    })
}
