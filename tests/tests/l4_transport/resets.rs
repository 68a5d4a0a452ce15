//! Connections that a program ends by force, each in its way: every reset is counted where it is sent and where it arrives, with
//! the reason that the kernel gives.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::server::listen;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, expect, kernel, scale, wait};
use rustix::net::sockopt::set_socket_linger;

const CONNECTIONS: u64 = 12;

/// How a program ends a connection.
struct Way {
    /// What the kernel calls it; since 6.12.
    reason: &'static str,
    /// The kernel's counter of it, by nstat and by the agent.
    counter: &'static str,
    signal: &'static str,
    end: fn(&TcpStream, &mut TcpStream) -> Result<()>,
}

#[test]
fn closed_with_unread_data() -> Result<()> {
    scenario(
        "l4_transport::resets::closed_with_unread_data",
        &Way {
            reason: "TCP_ABORT_ON_CLOSE",
            counter: "TcpExtTCPAbortOnClose",
            signal: "aborted_unread",
            end: |client, server| {
                server.write_all(b"unread")?;
                wait::until("data has arrived", Duration::from_secs(5), || {
                    Ok((client.peek(&mut [0; 6])? == 6).then_some(()))
                })
            },
        },
    )
}

#[test]
fn closed_without_lingering() -> Result<()> {
    scenario(
        "l4_transport::resets::closed_without_lingering",
        &Way {
            reason: "TCP_STATE",
            counter: "TcpExtTCPAbortOnData",
            signal: "aborted_over_data",
            end: |client, _| Ok(set_socket_linger(client, Some(Duration::ZERO))?),
        },
    )
}

fn scenario(test: &str, way: &Way) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    let listener = listen(&pair.server, target, 128)?;
    let client_side = Agent::watch(&pair.client)?;
    let server_side = Agent::watch(&pair.server)?;
    let resets = || counters::snmp(&pair.client, "TcpOutRsts");
    let before = resets()?;
    pair.client.run(|| {
        (0..CONNECTIONS).try_for_each(|number| {
            one(&listener, target, way.end).with_context(|| format!("connection {number}"))
        })
    })?;
    let sent = resets()? - before;
    let aborted = counters::snmp(&pair.client, way.counter)?;
    ensure!(
        (sent, aborted) == (CONNECTIONS, CONNECTIONS),
        "nstat counts {sent} resets and {aborted} of {}",
        way.counter
    );

    client_side.wait_for_window(SystemTime::now(), 2)?;
    let lines = expect::calm(client_side)?;
    stream::ensure_counted(
        &lines,
        "resets sent",
        sent,
        growth(&lines, "L4", "resets_sent"),
    )?;
    stream::ensure_counted(
        &lines,
        way.counter,
        aborted,
        growth(&lines, "L4", way.signal),
    )?;
    let named = kernel::is_at_least(6, 12)?;
    let told = event_count(&lines, "reset_sent", |event| {
        !named || event["reason"] == way.reason
    });
    stream::ensure_counted(&lines, "events of resets sent", sent, told)?;
    // An example and its count may be read in two windows: then it is without.
    let elsewhere = event_count(&lines, "reset_sent", |event| {
        let flow = &event["flow"];
        !flow.is_null() && flow["dst"] != target.ip().to_string()
    });
    stream::ensure(&lines, elsewhere == 0, || {
        format!("{elsewhere} resets went elsewhere")
    })?;
    let with_flow = event_count(&lines, "reset_sent", |event| !event["flow"].is_null());
    stream::ensure(&lines, with_flow > 0, || {
        "no reset has an example".to_owned()
    })?;

    server_side.wait_for_window(SystemTime::now(), 1)?;
    let lines = expect::calm(server_side)?;
    let arrived = growth(&lines, "L4", "resets_received");
    stream::ensure_counted(&lines, "resets received", sent, arrived)?;
    let told = event_count(&lines, "reset_received", |event| {
        event["reason"] == "established"
    });
    stream::ensure_counted(&lines, "events of resets received", sent, told)
}

/// One connection, until its reset has arrived at the server.
fn one(
    listener: &TcpListener,
    target: SocketAddr,
    end: fn(&TcpStream, &mut TcpStream) -> Result<()>,
) -> Result<()> {
    let patience = scale::patience(Duration::from_secs(5));
    let client = TcpStream::connect_timeout(&target, patience)?;
    let (mut server, _) = wait::until("the connection is accepted", patience, || {
        Ok(listener.accept().ok())
    })?;
    server.set_nonblocking(false)?;
    server.set_read_timeout(Some(patience))?;
    end(&client, &mut server)?;
    drop(client);
    let ended = server.read(&mut [0; 16]);
    ensure!(
        ended
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
        "the server was told {ended:?}"
    );
    Ok(())
}
