//! The path to a server is cut while connections to it are open, at a router outside of the watched namespace.
//!
//! `TCP_USER_TIMEOUT` stands for the quarter of an hour that the kernel waits by default. First evidence: the first `ETIMEDOUT`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::counters;
use osi_tests::expect::{Expected, HARD};
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::{Family, Routed};
use rustix::net::sockopt::set_tcp_user_timeout;

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
            set_tcp_user_timeout(&stream, GIVEN_UP_MS)?;
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
