//! The path to a server is cut while connections to it are open, at a router outside of the watched namespace.
//!
//! `TCP_USER_TIMEOUT` stands for the quarter of an hour that the kernel waits by default; or nothing is said on the connections, and both
//! ends ask whether the other one is still there (`SO_KEEPALIVE`). First evidence: the first `ETIMEDOUT`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD, STATISTICAL};
use osi_tests::nft::DropRule;
use osi_tests::server::{self, Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, wait};
use rustix::net::sockopt;

const EXPECTED: Expected = Expected {
    cause: "sessions_timed_out",
    layer: "L5",
    within: HARD,
    beside: &[],
};

const PORT: u16 = 7;
const SESSIONS: usize = 5;
/// Long enough for a path of the lab under load, and for few retransmissions.
const GIVEN_UP_MS: u32 = 2000;

#[test]
fn sessions_timed_out() -> Result<()> {
    scenario(
        "l5_session::sessions_timed_out::sessions_timed_out",
        Family::V4,
    )
}

#[test]
fn sessions_timed_out_v6() -> Result<()> {
    scenario(
        "l5_session::sessions_timed_out::sessions_timed_out_v6",
        Family::V6,
    )
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nft"), Need::Program("nstat")])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(family, PORT);
    let server = Server::start(&lab.server, target, Behaviour::Sink)?;
    let agent = Agent::watch(&lab.client)?;
    let mut sessions = lab.client.run(|| {
        let open = |_| -> Result<TcpStream> {
            let mut stream = TcpStream::connect(target)?;
            sockopt::set_tcp_user_timeout(&stream, GIVEN_UP_MS)?;
            stream.write_all(b"heard")?;
            Ok(stream)
        };
        (0..SESSIONS).map(open).collect::<Result<Vec<_>>>()
    })?;

    let fault = SystemTime::now();
    let cut = DropRule::add(&lab.router, "forward", &format!("tcp dport {PORT}"))?;
    for session in &mut sessions {
        session.write_all(b"not heard")?;
    }
    let mut evidence = None;
    for session in &mut sessions {
        let ended = session.read(&mut [0]).map_err(|error| error.raw_os_error());
        ensure!(
            ended == Err(Some(libc::ETIMEDOUT)),
            "a connection ended with {ended:?}"
        );
        evidence.get_or_insert_with(SystemTime::now);
    }
    let map = EXPECTED.named(&agent, fault, evidence.unwrap_or(fault))?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "peer"
            && scope["remote"] == target.ip().to_string()
            && scope["port"] == PORT,
        || format!("{target} fell silent, not {scope}"),
    )?;

    cut.remove()?;
    drop(sessions);
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    let given_up = counters::snmp(&lab.client, "TcpExtTCPAbortOnTimeout")?;
    let lines = EXPECTED.stop(agent)?;
    let counted = growth(&lines, "L5", "sessions_timed_out");
    let told = event_count(&lines, "session_aborted", |event| {
        event["errno"] == "ETIMEDOUT"
    });
    let sessions = SESSIONS as u64;
    stream::ensure(
        &lines,
        (given_up, counted, told) == (sessions, sessions, sessions),
        || {
            format!(
                "nstat counts {given_up} connections given up, the agent {counted} and its events {told}"
            )
        },
    )
}

/// At the listening side, where clients go out of reach by themselves: in more than one window.
const OF_CLIENTS: Expected = Expected {
    within: STATISTICAL,
    ..EXPECTED
};
/// After how many probes without an answer the connections of each wave are given up.
const WAVES: [u32; 3] = [2, 3, 4];
/// Idle for so long before the first probe, and between two of them.
const IDLE: Duration = Duration::from_secs(1);

#[test]
fn nobody_answers_keep_alive_probes() -> Result<()> {
    let test = "l5_session::sessions_timed_out::nobody_answers_keep_alive_probes";
    let Some(_turn) = skip::ready(test, &["nft", "nstat"].map(Need::Program))? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, PORT);
    let listener = server::listen(&lab.server, target, 128)?;
    listener.set_nonblocking(false)?;
    let (asking, serving) = (Agent::watch(&lab.client)?, Agent::watch(&lab.server)?);
    let (mut clients, mut accepted) = (Vec::new(), Vec::new());
    for probes in WAVES {
        for _ in 0..SESSIONS {
            let client = lab.client.run(|| Ok(TcpStream::connect(target)?))?;
            let (server, _) = listener.accept()?;
            clients.push(keep_alive(client, probes)?);
            accepted.push(keep_alive(server, probes)?);
        }
    }
    for (host, agent) in [(&lab.client, &asking), (&lab.server, &serving)] {
        let probes = || counters::snmp(host, "TcpExtTCPKeepAlive");
        wait::until_above("probes", 0, Duration::from_secs(5), probes)?;
        agent.wait_for_window(SystemTime::now(), 1)?;
    }

    let fault = SystemTime::now();
    let cut = DropRule::add(&lab.router, "forward", "meta l4proto tcp")?;
    let mut first = Vec::new();
    for ends in [&mut clients, &mut accepted] {
        given_up(&mut ends[..SESSIONS])?;
        first.push(SystemTime::now());
    }
    let found = [
        (&asking, EXPECTED, "peer", first[0]),
        (&serving, OF_CLIENTS, "listener", first[1]),
    ];
    let mut maps = Vec::new();
    for (agent, expected, kind, evidence) in found {
        let map = expected.named(agent, fault, evidence)?;
        let scope = &map.verdict()["scope"];
        agent.ensure(scope["kind"] == kind && scope["port"] == PORT, || {
            format!("the {kind} of {target} is silent, not {scope}")
        })?;
        maps.push(map);
    }
    given_up(&mut clients)?;
    given_up(&mut accepted)?;

    cut.remove()?;
    let all = clients.len() as u64;
    for ((host, agent), map) in [(&lab.client, asking), (&lab.server, serving)]
        .into_iter()
        .zip(maps)
    {
        EXPECTED.resolves(&agent, &map)?;
        let of = |name| counters::snmp(host, name);
        let (probes, given_up) = (of("TcpExtTCPKeepAlive")?, of("TcpExtTCPAbortOnTimeout")?);
        let lines = EXPECTED.stop(agent)?;
        let counted = growth(&lines, "L5", "keepalive_probes");
        stream::ensure(&lines, counted == probes && probes > all, || {
            format!("nstat counts {probes} keep-alive probes and the agent {counted}")
        })?;
        let counted = growth(&lines, "L5", "sessions_timed_out");
        let told = event_count(&lines, "session_aborted", |event| {
            event["errno"] == "ETIMEDOUT"
        });
        stream::ensure(&lines, (given_up, counted, told) == (all, all, all), || {
            format!(
                "{all} connections were given up: nstat counts {given_up}, the agent {counted} and its events {told}"
            )
        })?;
    }
    Ok(())
}

/// Lets the kernel ask whether the other end is there, and give up after so many probes.
fn keep_alive(stream: TcpStream, probes: u32) -> Result<TcpStream> {
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, IDLE)?;
    sockopt::set_tcp_keepintvl(&stream, IDLE)?;
    sockopt::set_tcp_keepcnt(&stream, probes)?;
    Ok(stream)
}

/// Waits until all of them have ended with ETIMEDOUT, or had.
fn given_up(sessions: &mut [TcpStream]) -> Result<()> {
    for session in sessions {
        match session.read(&mut [0]).map_err(|error| error.raw_os_error()) {
            Err(Some(libc::ETIMEDOUT)) | Ok(0) => {}
            ended => bail!("a connection ended with {ended:?}"),
        }
    }
    Ok(())
}
