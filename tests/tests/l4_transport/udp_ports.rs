//! A process keeps so many UDP sockets that none is left to choose for the next: as a resolver that waits for answers.

use std::os::fd::OwnedFd;
use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, HARD};
use osi_tests::netns::Namespace;
use osi_tests::stream::{Line, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{command, report, skip};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

const EXPECTED: Expected = Expected {
    cause: "ephemeral_ports_exhausted",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const PORTS: usize = 200;
const REFUSED: usize = 10;

#[test]
fn udp_ports_run_out() -> Result<()> {
    let test = "l4_transport::udp_ports::udp_ports_run_out";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let host = &pair.client;
    host.give_out_ports(PORTS as u64)?;
    // Two of them are nobody's, so that two sockets less find a port.
    host.set_sysctl("net/ipv4/ip_local_reserved_ports", "40010,40020")?;
    // Where it is a module, ss makes the kernel load udp_diag; the agent does not.
    ensure!(count(host)? == 0, "the host has UDP sockets");
    let agent = Agent::watch(host)?;

    let fault = SystemTime::now();
    let (held, refused) = ask(host, PORTS + REFUSED)?;
    let evidence = SystemTime::now();
    ensure!(
        (held.len(), refused) == (PORTS - 2, REFUSED + 2),
        "{} sockets got a port and {refused} got EAGAIN",
        held.len()
    );
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "pool" && scope["proto"] == "udp" && map.verdict()["state"] == "critical",
        || format!("the verdict is about {scope}: {map}"),
    )?;
    let listed = count(host)?;
    // Where refusals are seen one by one, they may name it a window before the sockets are counted.
    let full = agent.wait_for(&format!("{listed} ports in use"), INTERVAL * 3, |line| {
        let used = line.is_fault_map().then(|| meter(line, "used")).flatten();
        used == Some(listed as f64) && used == meter(line, "capacity")
    })?;
    let (used, capacity) = (meter(&full, "used"), meter(&full, "capacity"));
    report::say(
        "compared",
        &format!("{used:?} of {capacity:?} UDP ports, ss lists {listed}"),
    )?;
    let pid = std::process::id();
    agent.wait_for("the process that holds them", INTERVAL * 6, |line| {
        let mut rows = rows(line.verdict(), "evidence");
        rows.any(|row| {
            let why = row["why"].as_str().unwrap_or("");
            row["signal"] == "ports_held"
                && row["value"] == held.len() as f64
                && why.contains(&format!("(pid {pid})"))
        })
    })?;

    drop(held);
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent)?;
    Ok(())
}

/// Sockets that connect without having bound: those that got a port, and how many got EAGAIN.
pub(super) fn ask(host: &Namespace, count: usize) -> Result<(Vec<OwnedFd>, usize)> {
    let target = Pair::server_at(Family::V4, 53);
    sockets(host, count, SocketType::DGRAM, Errno::AGAIN, |socket| {
        connect(socket, &target)
    })
}

/// Sockets that each want any port: those that got one, and how many were refused with this error.
pub(super) fn sockets(
    host: &Namespace,
    count: usize,
    kind: SocketType,
    refusal: Errno,
    want: impl Fn(&OwnedFd) -> Result<(), Errno> + Sync,
) -> Result<(Vec<OwnedFd>, usize)> {
    host.run(|| {
        let (mut held, mut refused) = (Vec::new(), 0);
        for _ in 0..count {
            // Programs that other scenarios start meanwhile would hold them, too.
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
            match want(&socket) {
                Ok(()) => held.push(socket),
                Err(error) if error == refusal => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((held, refused))
    })
}

fn count(host: &Namespace) -> Result<usize> {
    let text = command::output(host.command("ss")?.args(["-H", "-u", "-a", "-n"]))?;
    Ok(text.lines().count())
}

fn meter(map: &Line, figure: &str) -> Option<f64> {
    map.meters("L4", "udp_ports").next()?[figure].as_f64()
}
