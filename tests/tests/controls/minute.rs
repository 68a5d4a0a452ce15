//! A healthy minute: 1,000 connections a second beside a stream, and no packet is lost anywhere.

use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, handshakes};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, cpu, expect, scale};

/// Connections are begun for so long on a machine at full speed, and for as much longer as another makes fewer of them in a second.
const MINUTE: Duration = Duration::from_mins(1);
const PER_SECOND: u64 = 1000;
/// 160 Mbit/s at full speed.
const BYTES_PER_SECOND: u64 = 20_000_000;

#[test]
fn a_thousand_connections_a_second_beside_a_stream() -> Result<()> {
    if !scale::is_slow() {
        return scenario();
    }
    // A CPU of an emulated machine may stand still while another goes on; on one CPU no packet is overtaken for that.
    cpu::scenario_on(1, scenario)
}

fn scenario() -> Result<()> {
    let test = "controls::minute::a_thousand_connections_a_second_beside_a_stream";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    if scale::is_slow() {
        be_patient(&pair)?;
    }
    let echo_at = Pair::server_at(Family::V4, 7);
    let sink_at = Pair::server_at(Family::V4, 9);
    let echo = Server::start(&pair.server, echo_at, Behaviour::Echo)?;
    let sink = Server::start(&pair.server, sink_at, Behaviour::Sink)?;
    let watched = [Agent::watch(&pair.client)?, Agent::watch(&pair.server)?];

    let all = scale::patience(MINUTE);
    let plan = Plan {
        target: echo_at,
        connections: PER_SECOND * MINUTE.as_secs(),
        per_second: PER_SECOND,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let connections = load::connections(&pair.client, plan)?;
    let rate = scale::rate(BYTES_PER_SECOND);
    let stream = load::bulk(&pair.client, sink_at, all, Some(rate))?;
    let report = connections.join()?;
    let bytes = stream.join()?;
    let ended = SystemTime::now();
    ensure!(
        report.completed == plan.connections,
        "{} of {} connections were clean, {:?}",
        report.completed,
        plan.connections,
        report.errors
    );
    ensure!(
        bytes >= rate * all.as_secs() / 2,
        "only {bytes} bytes were carried"
    );
    drop((echo, sink));
    let again = counters::snmp(&pair.client, "TcpRetransSegs")?
        + counters::snmp(&pair.server, "TcpRetransSegs")?;

    let with_the_stream = plan.connections + 1;
    for (agent, side) in watched
        .into_iter()
        .zip(["tcp_handshake_client", "tcp_handshake_server"])
    {
        agent.wait_for_window(ended, 2)?;
        let lines = expect::calm(agent)?;
        // Benign ones are no events. What a slow machine sends again finds its connection at an end, and so may the answer to
        // it: no socket, or a listener at most, for which older kernels name no reason.
        let drops = || lines.iter().filter(|line| line.value()["kind"] == "drop");
        let too_late = |line: &&Line| {
            let event = line.value();
            let is = |key: &str, names: &[&str]| names.iter().any(|name| event[key] == *name);
            let by_listener = is("function", &["tcp_v4_do_rcv"]);
            is("reason", &["NO_SOCKET"])
                || by_listener && is("reason", &["TCP_FLAGS", "NOT_SPECIFIED"])
        };
        if let Some(line) = drops().find(|line| !too_late(line)) {
            bail!(
                "a packet of a healthy minute is said to be lost: {}",
                line.value()
            );
        }
        let late = event_count(&lines, "drop", |_| true);
        stream::ensure(&lines, late <= 2 * again, || {
            format!("{late} packets found no socket, and {again} segments were sent again")
        })?;
        let counted = handshakes(&lines, side);
        stream::ensure_counted(&lines, side, with_the_stream, counted)?;
    }
    Ok(())
}

/// Where a machine may stand still for longer than TCP waits for an answer, it sends nothing again for that; and a small one
/// has room for all that stay in TIME_WAIT, which would else meet the listener.
fn be_patient(pair: &Pair) -> Result<()> {
    for (host, number) in [(&pair.client, 1), (&pair.server, 2)] {
        let own = format!("10.1.0.{number}");
        let route = "route change 10.1.0.0/24 dev eth0 proto kernel scope link rto_min 3s src";
        let words: Vec<_> = route.split(' ').chain([own.as_str()]).collect();
        host.ip(&words)?;
        // No probes for a lost tail either.
        host.set_sysctl("net/ipv4/tcp_early_retrans", "0")?;
        host.set_sysctl("net/ipv4/tcp_max_tw_buckets", "65536")?;
    }
    Ok(())
}
