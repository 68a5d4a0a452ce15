//! Connects whose SYN waits for the first data (`TCP_FASTOPEN_CONNECT`): the time that the application takes over it is no search
//! for a port, and one that closes without a word was not refused a port.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::server::{Behaviour, MESSAGE_BYTES, Server};
use osi_tests::skip::{self, Need};
use osi_tests::socket_option::connect_with_first_data;
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, expect, scale};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

/// Connects that send something, and connects that are closed before.
const TALKING: u64 = 10;
const SILENT: u64 = 15;

#[test]
fn deferred_connects() -> Result<()> {
    let test = "l4_transport::deferred_connects::deferred_connects";
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    pair.client.set_sysctl("net/ipv4/tcp_fastopen", "0x1")?;
    // Without an option of the server's own.
    pair.server.set_sysctl("net/ipv4/tcp_fastopen", "0x402")?;
    let target = Pair::server_at(Family::V4, 7);
    let _server = Server::start(&pair.server, target, Behaviour::Echo)?;
    // Not where only the state tells: when the SYN is built is the question.
    let agent = Agent::watch_with(&pair.client, &["--probe-variant", "tcp_connect=sock_ops"])?;
    let probe = agent.probe("tcp_connect")?;
    if probe["state"] != "active" {
        agent.stop()?;
        return skip::skip(test, &format!("tcp_connect: {}", probe["reason"]));
    }

    let sent_before = counters::snmp(&pair.client, "TcpActiveOpens")?;
    // The first fetches the cookie that the others need.
    pair.client.run(|| talk(begin(target)?))?;
    let silent = pair.client.run(|| begin_all(target, SILENT))?;
    let talking = pair.client.run(|| begin_all(target, TALKING))?;
    let sent = counters::snmp(&pair.client, "TcpActiveOpens")? - sent_before;
    ensure!(sent == 1, "{sent} SYNs were sent: the others did not wait");
    // A window goes by, which is longer than any search.
    agent.wait_for_window(SystemTime::now(), 1)?;
    drop(silent);
    talking.into_iter().try_for_each(talk)?;
    agent.wait_for_window(SystemTime::now(), 2)?;

    let lines = expect::calm(agent)?;
    for (id, offered) in [
        ("connects", 1 + TALKING + SILENT),
        ("connected", 1 + TALKING),
        ("connects_abandoned", SILENT),
        ("connect_failures", 0),
        ("ports_exhausted", 0),
    ] {
        stream::ensure_counted(&lines, id, offered, growth(&lines, "L4", id))?;
    }
    let given_up = event_count(&lines, "connect_failed", |event| {
        event["killed_by"]["what"] == "given_up"
    });
    stream::ensure_counted(&lines, "connects given up", SILENT, given_up)?;
    let searches = stream::handshakes(&lines, "tcp_port_search");
    stream::ensure_counted(&lines, "searches for a port", 1, searches)
}

fn begin_all(target: SocketAddr, count: u64) -> Result<Vec<OwnedFd>> {
    (0..count).map(|_| begin(target)).collect()
}

fn begin(target: SocketAddr) -> Result<OwnedFd> {
    // A command that starts meanwhile would keep it open.
    let flags = SocketFlags::CLOEXEC;
    let open = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    connect_with_first_data(&open)?;
    connect(&open, &target)?;
    Ok(open)
}

fn talk(open: OwnedFd) -> Result<()> {
    let mut stream = TcpStream::from(open);
    stream.set_read_timeout(Some(scale::patience(Duration::from_secs(5))))?;
    stream.write_all(&[b'o'; MESSAGE_BYTES])?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(
        answer.len() == MESSAGE_BYTES,
        "the answer is {} bytes",
        answer.len()
    );
    Ok(())
}
