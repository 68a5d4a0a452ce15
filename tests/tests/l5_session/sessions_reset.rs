//! A server that answers half and resets; or clients that reset while they wait for an answer, as seen where they are served.
//! Clients whose farewell meets a server that reads no more are none of them.
//!
//! First evidence: the first connection that leaves ESTABLISHED by a reset (`TcpEstabResets`).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, MESSAGE_BYTES, Server, listen, reset_on_close};
use osi_tests::skip::{self, Need};
use osi_tests::socket_option::unacknowledged;
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, scale, wait};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt;

const EXPECTED: Expected = Expected {
    cause: "sessions_reset",
    layer: "L5",
    within: STATISTICAL,
    beside: &[],
};

const PORT: u16 = 7;
const CONNECTIONS: u64 = 240;
/// A quarter of them, as a guest makes, are still more than the five a window that no finding is made of.
const PER_SECOND: u64 = 40;

#[test]
fn sessions_reset() -> Result<()> {
    scenario("l5_session::sessions_reset::sessions_reset", Family::V4)
}

#[test]
fn sessions_reset_v6() -> Result<()> {
    scenario("l5_session::sessions_reset::sessions_reset_v6", Family::V6)
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(family, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Break)?;
    let agent = Agent::watch(&pair.client)?;

    let fault = SystemTime::now();
    let plan = Plan {
        target,
        connections: CONNECTIONS,
        per_second: PER_SECOND,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let work = load::connections(&pair.client, plan)?;
    let resets = || counters::snmp(&pair.client, "TcpEstabResets");
    let evidence = wait::until_above("resets", 0, Duration::from_secs(3), resets)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(
        scope["kind"] == "peer"
            && scope["remote"] == target.ip().to_string()
            && scope["port"] == PORT,
        || format!("{target} resets, not {scope}"),
    )?;

    let report = work.join()?;
    ensure!(
        report.errors_of(libc::ECONNRESET) == CONNECTIONS,
        "the connections ended with {:?}",
        report.errors
    );
    drop(server);
    EXPECTED.resolves(&agent, &map)?;
    let resets = resets()?;
    let lines = EXPECTED.stop(agent)?;
    let counted = growth(&lines, "L5", "sessions_reset");
    let aborted = event_count(&lines, "session_aborted", |event| {
        event["errno"] == "ECONNRESET"
    });
    stream::ensure(&lines, (counted, aborted) == (resets, resets), || {
        format!(
            "nstat counts {resets} reset connections, the agent {counted} and its events {aborted}"
        )
    })
}

/// How long a client waits for its answer, and how long the server would work on it.
const PATIENCE: Duration = Duration::from_millis(50);
const WORK: Duration = Duration::from_millis(500);
const CLIENTS: u64 = 4;
const OF_EACH: u64 = 80;

#[test]
fn clients_that_give_up() -> Result<()> {
    let test = "l5_session::sessions_reset::clients_that_give_up";
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let server = Server::start(&pair.server, target, Behaviour::Converse)?;
    server.work_for(WORK);
    let agent = Agent::watch(&pair.server)?;

    let fault = SystemTime::now();
    let clients = (0..CLIENTS).map(|_| {
        pair.client
            .spawn(move || (0..OF_EACH).try_for_each(|_| gives_up(target)))
    });
    let clients = clients.collect::<Result<Vec<_>>>()?;
    let resets = || counters::snmp(&pair.server, "TcpEstabResets");
    let evidence = wait::until_above("resets", 0, Duration::from_secs(3), resets)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(scope["kind"] == "listener" && scope["port"] == PORT, || {
        format!("clients of {target} reset, not {scope}")
    })?;

    for client in clients {
        client.join()?;
    }
    EXPECTED.resolves(&agent, &map)?;
    drop(server);
    let (resets, all) = (resets()?, CLIENTS * OF_EACH);
    let lines = EXPECTED.stop(agent)?;
    let counted = growth(&lines, "L5", "sessions_reset");
    let aborted = event_count(&lines, "session_aborted", |event| {
        event["errno"] == "ECONNRESET"
    });
    stream::ensure(
        &lines,
        (resets, counted, aborted) == (all, all, all),
        || {
            format!(
                "{all} clients gave up: nstat counts {resets} reset connections, the agent {counted} and its events {aborted}"
            )
        },
    )
}

/// Asks, and resets the connection when no answer has come in time.
fn gives_up(target: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(target)?;
    stream.write_all(&[b'o'; MESSAGE_BYTES])?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let answer = stream.read(&mut [0]).map_err(|error| error.kind());
    ensure!(answer == Err(ErrorKind::WouldBlock), "it got {answer:?}");
    reset_on_close(&stream)
}

/// Of TLS 1.3.
const CLOSING_ALERT: usize = 24;
/// Both ends wait with their acknowledgements by then (`TCP_PINGPONG_THRESH`, three at most).
const EXCHANGES: usize = 4;
const LEAVING: u64 = 160;

#[test]
fn a_farewell_that_nobody_reads() -> Result<()> {
    let test = "l5_session::sessions_reset::a_farewell_that_nobody_reads";
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, PORT);
    let listener = listen(&pair.server, target, 128)?;
    let (leaves, acknowledged) = mpsc::channel();
    let all = [
        Close::AtOnce,
        Close::WhenAcknowledged,
        Close::AfterItsOwn,
        Close::AtOnce,
    ];
    let server = pair.server.spawn(move || {
        let mut each = all.iter().flat_map(|how| [how; LEAVING as usize]);
        each.try_for_each(|how| closes_unread(&listener, *how, &acknowledged))
    })?;
    let agent = Agent::watch(&pair.client)?;
    let leave = |bytes, leaves: Option<Sender<()>>| {
        let one = move |_| leaves_by(target, bytes, leaves.as_ref());
        pair.client.spawn(move || (0..LEAVING).try_for_each(one))
    };

    leave(CLOSING_ALERT, None)?.join()?;
    leave(CLOSING_ALERT, Some(leaves))?.join()?;
    leave(CLOSING_ALERT, None)?.join()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.lines();
    let told = lines.iter().filter(|line| line.kind() == "finding").count();
    agent.ensure(told == 0, || "nobody missed anything".to_owned())?;
    let resets = || counters::snmp(&pair.client, "TcpEstabResets");
    let before = resets()?;
    ensure!(before == 3 * LEAVING, "{before} were reset");

    // A byte more, which is no farewell of TLS.
    let fault = SystemTime::now();
    let clients = leave(CLOSING_ALERT + 1, None)?;
    let evidence = wait::until_above("resets", before, Duration::from_secs(3), resets)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    clients.join()?;
    server.join()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let (counted, resets) = (growth(&lines, "L5", "sessions_reset"), resets()?);
    stream::ensure(
        &lines,
        (resets, counted) == (4 * LEAVING, 4 * LEAVING),
        || format!("nstat counts {resets} reset connections, the agent {counted}"),
    )
}

/// How a server closes that leaves a farewell unread.
#[derive(Clone, Copy)]
enum Close {
    AtOnce,
    /// The client has heard that it came.
    WhenAcknowledged,
    /// It has sent an alert of its own.
    AfterItsOwn,
}

/// Answers, and closes with what comes next unread.
fn closes_unread(listener: &TcpListener, how: Close, acknowledged: &Receiver<()>) -> Result<()> {
    poll(&mut [PollFd::new(listener, PollFlags::IN)], None)?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nonblocking(false)?;
    let mut message = [0; MESSAGE_BYTES];
    for _ in 0..EXCHANGES {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
    stream.peek(&mut [0])?;
    match how {
        Close::AtOnce => {}
        Close::WhenAcknowledged => {
            sockopt::set_tcp_quickack(&stream, true)?;
            acknowledged.recv()?;
        }
        Close::AfterItsOwn => stream.write_all(&[b'o'; CLOSING_ALERT])?,
    }
    Ok(())
}

/// Asks, sends so many bytes after the last answer, tells when they have been acknowledged where that is asked for, and waits for
/// the end. The next one comes a while later.
fn leaves_by(target: SocketAddr, bytes: usize, leaves: Option<&Sender<()>>) -> Result<()> {
    std::thread::sleep(Duration::from_secs(1) / scale::rate(PER_SECOND) as u32);
    let mut stream = TcpStream::connect(target)?;
    let mut message = [b'o'; MESSAGE_BYTES];
    for _ in 0..EXCHANGES {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
    }
    stream.write_all(&vec![b'o'; bytes])?;
    if let Some(leaves) = leaves {
        wait::until(
            "the farewell is acknowledged",
            Duration::from_secs(1),
            || Ok((unacknowledged(&stream)? == 0).then_some(())),
        )?;
        leaves.send(())?;
    }
    // Not for what comes: nobody reads the server's farewell.
    poll(&mut [PollFd::new(&stream, PollFlags::empty())], None)?;
    let end = stream.take_error()?.map(|error| error.kind());
    ensure!(end == Some(ErrorKind::ConnectionReset), "it got {end:?}");
    Ok(())
}
