//! Connections as healthy services have them: left open for a while, idle, or reset by design when nobody uses them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect;
use osi_tests::netns::{Namespace, Task};
use osi_tests::server::{MESSAGE_BYTES, reset_on_close};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, scale};

const PORT: u16 = 7;
const SESSIONS: usize = 40;
/// Longer than anything takes that is going on, shorter than what is left open for good.
const A_WHILE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

/// A server that leaves connections open for two seconds after their clients have closed.
#[test]
fn close_wait_for_a_while() -> Result<()> {
    let test = "controls::sessions::close_wait_for_a_while";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.server)?;
    for _ in 0..ROUNDS {
        let (clients, server) = exchange(&pair, End::Close)?;
        drop(clients);
        let held = server.join()?;
        ensure!(held == SESSIONS, "{held} connections were served");
    }
    agent.wait_for_window(SystemTime::now(), 2)?;
    expect::calm(agent).map(drop)
}

/// Connections on which nothing is said for ten windows.
#[test]
fn idle_sessions() -> Result<()> {
    let test = "controls::sessions::idle_sessions";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let (client_side, server_side) = (Agent::watch(&pair.client)?, Agent::watch(&pair.server)?);
    let (clients, server) = exchange(&pair, End::Wait)?;
    let map = server_side.wait_for_window(SystemTime::now(), 10)?;
    let open = map
        .meters("L5", "sessions")
        .find(|row| row["scope"]["port"] == PORT)
        .and_then(|row| row["used"].as_f64());
    let listed = counters::tcp_sockets(&pair.server, "state established")?;
    server_side.ensure(
        open == Some(listed as f64) && listed == SESSIONS as u64,
        || format!("ss lists {listed} connections and the agent {open:?}"),
    )?;
    drop(clients);
    server.join()?;
    expect::calm(client_side)?;
    expect::calm(server_side).map(drop)
}

/// A server that resets connections which have been idle for two seconds, as proxies do.
#[test]
fn resets_by_design() -> Result<()> {
    let test = "controls::sessions::resets_by_design";
    let Some(_turn) = skip::ready(test, &[Need::Program("nstat")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.client)?;
    for _ in 0..ROUNDS {
        let (clients, server) = exchange(&pair, End::Reset)?;
        server.join()?;
        drop(clients);
    }
    let resets = counters::snmp(&pair.client, "TcpEstabResets")?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = expect::calm(agent)?;
    let counted = growth(&lines, "L5", "sessions_reset");
    // An event says what happened, and no more.
    let told = event_count(&lines, "session_aborted", |event| {
        event["errno"] == "ECONNRESET"
    });
    let all = (ROUNDS * SESSIONS) as u64;
    stream::ensure(&lines, (resets, counted, told) == (all, all, all), || {
        format!("nstat counts {resets} reset connections, the agent {counted}, its events {told}")
    })
}

/// What the server does with connections that were served.
#[derive(Clone, Copy)]
enum End {
    /// Closes them after a while.
    Close,
    /// Resets them after a while.
    Reset,
    /// Waits for their clients to close.
    Wait,
}

/// Connections on which a message went there and back, and the server that ends them; it joins to how many it served.
fn exchange(pair: &Pair, end: End) -> Result<(Vec<TcpStream>, Task<usize>)> {
    let target = Pair::server_at(Family::V4, PORT);
    let listener = pair.server.run(|| Ok(TcpListener::bind(target)?))?;
    let server = pair.server.spawn(move || serve(&listener, end))?;
    Ok((clients(&pair.client, target)?, server))
}

fn clients(host: &Namespace, target: SocketAddr) -> Result<Vec<TcpStream>> {
    let open = |_| -> Result<TcpStream> {
        let mut stream = TcpStream::connect(target)?;
        let mut message = [b'o'; MESSAGE_BYTES];
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        Ok(stream)
    };
    host.run(|| (0..SESSIONS).map(open).collect())
}

fn serve(listener: &TcpListener, end: End) -> Result<usize> {
    let mut served = Vec::new();
    while served.len() < SESSIONS {
        let (mut stream, _) = listener.accept()?;
        let mut message = [0; MESSAGE_BYTES];
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
        served.push(stream);
    }
    match end {
        // The time itself is the design.
        End::Close => std::thread::sleep(scale::patience(A_WHILE)),
        End::Reset => {
            std::thread::sleep(scale::patience(A_WHILE));
            for stream in &served {
                reset_on_close(stream)?;
            }
        }
        End::Wait => {
            for stream in &mut served {
                ensure!(stream.read(&mut [0])? == 0, "a client said more");
            }
        }
    }
    Ok(served.len())
}
