//! A process holds as many connections to one server as the client has local ports, and wants more.
//!
//! First evidence: the first connect that returns EADDRNOTAVAIL. The process makes all of them within milliseconds,
//! so the moment it reports is taken.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::expect::{Expected, HARD};
use osi_tests::lab_program::Holder;
use osi_tests::report;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip;
use osi_tests::stream::{self, Line, event_count};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, processes, wait};

const EXPECTED: Expected = Expected {
    cause: "ephemeral_ports_exhausted",
    layer: "L4",
    within: HARD,
    beside: &[],
};

const METER: &str = "ephemeral_ports";
const PORTS: u64 = 200;
const REFUSED: u64 = 10;

#[test]
fn ephemeral_ports_exhausted() -> Result<()> {
    scenario(
        "l4_transport::ephemeral_ports_exhausted::ephemeral_ports_exhausted",
        Family::V4,
    )
}

#[test]
fn ephemeral_ports_exhausted_v6() -> Result<()> {
    scenario(
        "l4_transport::ephemeral_ports_exhausted::ephemeral_ports_exhausted_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(family, 7);
    pair.client.give_out_ports(PORTS)?;
    let server = Server::start(&pair.server, target, Behaviour::Hold)?;
    let agent = Agent::watch(&pair.client)?;

    let fault = SystemTime::now();
    let holder = Holder::start(
        &pair.client,
        env!("CARGO_BIN_EXE_hold-connections"),
        target,
        PORTS + REFUSED,
    )?;
    let evidence = SystemTime::now();
    ensure!(
        (holder.held, holder.refused) == (PORTS, REFUSED),
        "the process holds {} connections and was refused {}",
        holder.held,
        holder.refused
    );
    let map = EXPECTED.named(&agent, fault, evidence)?;
    used_as_ss_counts(&agent, &pair, target)?;
    let event = agent.wait_for("the event port_exhausted", Duration::from_secs(2), |line| {
        line.value()["kind"] == "port_exhausted"
    })?;
    let process = &event.value()["process"];
    let started = processes::start_time(holder.pid())?;
    agent.ensure(
        process["pid"] == holder.pid()
            && process["start_time"] == started
            && process["comm"] == "hold-connection",
        || {
            format!(
                "hold-connection, {}, that started at {started}, ran out of ports, not {process}",
                holder.pid()
            )
        },
    )?;

    let pid = holder.pid();
    holder.release(&pair.client, target, server)?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let told = event_count(&lines, "port_exhausted", |_| true);
    stream::ensure(&lines, told == REFUSED, || {
        format!("{REFUSED} connects got no port and the events count {told}")
    })?;
    let blamed = |line: &&Line| {
        line.value()["kind"] == "port_exhausted" && line.value()["process"]["pid"].is_number()
    };
    let wrong = lines
        .iter()
        .filter(blamed)
        .find(|line| line.value()["process"]["pid"] != pid);
    ensure!(
        wrong.is_none(),
        "process {pid} ran out of ports, and this event blames another: {wrong:?}"
    );
    Ok(())
}

/// Held and TIME_WAIT connections alike occupy ports; both are in the meter.
#[test]
fn port_use_is_what_ss_counts() -> Result<()> {
    let Some(_turn) = skip::ready(
        "l4_transport::ephemeral_ports_exhausted::port_use_is_what_ss_counts",
        &[],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    pair.client.give_out_ports(1000)?;
    let server = Server::start(&pair.server, target, Behaviour::Hold)?;
    let program = env!("CARGO_BIN_EXE_hold-connections");
    // Killed at once: its side closes first, so its ports stay in TIME_WAIT.
    drop(Holder::start(&pair.client, program, target, 170)?);
    let holder = Holder::start(&pair.client, program, target, 250)?;
    let agent = Agent::watch(&pair.client)?;
    used_as_ss_counts(&agent, &pair, target)?;
    agent.stop()?;
    drop(server);
    drop(holder);
    Ok(())
}

/// Ports in TIME_WAIT that a new connection may take are not in use: the kernel gives them away.
#[test]
fn ports_that_may_be_taken_over_are_not_used() -> Result<()> {
    // Alone: beside others, not all of the closed connections came to TIME_WAIT in time, here and in guests.
    let test = "l4_transport::ephemeral_ports_exhausted::ports_that_may_be_taken_over_are_not_used";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    pair.client.give_out_ports(PORTS)?;
    // Until all are made, none takes the port of another.
    pair.client.set_sysctl("net/ipv4/tcp_tw_reuse", "0")?;
    let program = env!("CARGO_BIN_EXE_hold-connections");
    // A server that closes when its client has.
    let server = Server::start(&pair.server, target, Behaviour::Sink)?;
    let of = |filter: &str| counters::tcp_sockets(&pair.client, &format!("{filter}dst {target}"));
    // No more at once than the listener's queue takes (128): what finds it full is not closed for seconds.
    for count in [50, 100, 150] {
        wait::until("all are in TIME_WAIT", Duration::from_secs(20), || {
            let (waiting, all) = (of("state time-wait ")?, of("")?);
            // A few are reset: what a client says while the kernel makes the server's socket may find none. Others take their place.
            if waiting == all && waiting < count {
                drop(Holder::start(
                    &pair.client,
                    program,
                    target,
                    count - waiting,
                )?);
            }
            Ok((waiting == count).then_some(()))
        })?;
    }
    drop(server);
    let server = Server::start(&pair.server, target, Behaviour::Hold)?;
    let holder = Holder::start(&pair.client, program, target, 50)?;
    let agent = Agent::watch(&pair.client)?;
    agent.wait_for("a full pool", INTERVAL * 3, |line| {
        line.is_fault_map() && pool(line, target) == Some(PORTS as f64)
    })?;
    pair.client.set_sysctl("net/ipv4/tcp_tw_reuse", "1")?;
    let live = || counters::tcp_sockets(&pair.client, &format!("state established dst {target}"));
    let pool = |line: &Line| pool(line, target);
    let map = agent.wait_for("a pool without TIME_WAIT", INTERVAL * 10, |line| {
        line.is_fault_map() && pool(line) == Some(50.0)
    })?;
    let all = counters::tcp_sockets(&pair.client, &format!("dst {target}"))?;
    report::say(
        "compared",
        &format!(
            "{:?} used, ss lists {all}, {} of them open",
            pool(&map),
            live()?
        ),
    )?;
    ensure!(
        (live()?, all) == (50, PORTS),
        "ss lists {all} sockets and {} open ones",
        live()?
    );
    // All others can be had indeed, and then the meter is full.
    let more = Holder::start(&pair.client, program, target, 150 + REFUSED)?;
    ensure!(
        (more.held, more.refused) == (150, REFUSED),
        "{} connections were made and {} refused",
        more.held,
        more.refused
    );
    agent.wait_for("a full pool", INTERVAL * 3, |line| {
        line.is_fault_map() && pool(line) == Some(PORTS as f64)
    })?;
    agent.stop()?;
    drop((server, holder, more));
    Ok(())
}

/// The meter of the pool towards `target`, in a window that begins and ends with the same count of `ss`.
fn used_as_ss_counts(agent: &Agent, pair: &Pair, target: std::net::SocketAddr) -> Result<()> {
    let filter = format!("dst {target}");
    let before = counters::tcp_sockets(&pair.client, &filter)?;
    let whole = agent.wait_for_window(SystemTime::now(), 2)?;
    // A window whose reader of ports was late knows no pool.
    let map = agent.wait_for("the pool", INTERVAL * 5, |line| {
        line.is_fault_map()
            && line.value()["seq"].as_u64() >= whole.value()["seq"].as_u64()
            && pool(line, target).is_some()
    })?;
    let after = counters::tcp_sockets(&pair.client, &filter)?;
    agent.ensure(before == after, || {
        format!("ss counted {before} and then {after} sockets towards {target}")
    })?;
    let used = pool(&map, target);
    agent.compare(
        used.is_some_and(|used| (used - after as f64).abs() <= after as f64 * 0.01),
        || format!("ss counts {after} ports towards {target} and the agent {used:?}"),
    )
}

fn pool(map: &Line, target: std::net::SocketAddr) -> Option<f64> {
    map.meters("L4", METER)
        .find(|row| {
            row["scope"]["remote"] == target.ip().to_string()
                && row["scope"]["port"] == target.port()
        })
        .and_then(|row| row["used"].as_f64())
}
