//! TCP Fast Open: the first connect fetches a cookie, the others carry their data in the SYN.
//!
//! Over a wire with a delay, so that the server reads, answers and closes before the handshake has ended.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::delay::DelayedPair;
use osi_tests::server::{Behaviour, MESSAGE_BYTES, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, event_count, growth};
use osi_tests::topology::Family;
use osi_tests::{counters, expect, scale};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};

/// Each way.
const DELAY: Duration = Duration::from_millis(20);
const CONNECTS: u64 = 20;
/// `net.ipv4.tcp_fastopen`: clients may send data in SYNs; servers take it, without asking for it by a socket option.
const CLIENT: &str = "0x1";
const SERVER: &str = "0x402";

#[test]
fn fast_open_v4() -> Result<()> {
    scenario("l4_transport::fast_open::fast_open_v4", Family::V4)
}

#[test]
fn fast_open_v6() -> Result<()> {
    scenario("l4_transport::fast_open::fast_open_v6", Family::V6)
}

fn scenario(test: &str, family: Family) -> Result<()> {
    let needs = [Need::Device("/dev/net/tun"), Need::Program("nstat")];
    let Some(_turn) = skip::ready(test, &needs)? else {
        return Ok(());
    };
    let pair = DelayedPair::build(scale::patience(DELAY))?;
    pair.client.set_sysctl("net/ipv4/tcp_fastopen", CLIENT)?;
    pair.server.set_sysctl("net/ipv4/tcp_fastopen", SERVER)?;
    let target = DelayedPair::server_at(family, 7);
    let server = Server::start(&pair.server, target, Behaviour::Echo)?;
    let client_side = Agent::watch(&pair.client)?;
    let server_side = Agent::watch(&pair.server)?;

    pair.client.run(|| {
        (0..CONNECTS)
            .try_for_each(|number| exchange(target).with_context(|| format!("connect {number}")))
    })?;
    // All but the first, as the kernel counts.
    let with_data = CONNECTS - 1;
    let active = counters::snmp(&pair.client, "TcpExtTCPFastOpenActive")?;
    let passive = counters::snmp(&pair.server, "TcpExtTCPFastOpenPassive")?;
    ensure!(
        (active, passive) == (with_data, with_data),
        "{active} connects had their data acknowledged with their SYN, {passive} were accepted so"
    );
    ensure!(
        server.accepted() == CONNECTS,
        "the server accepted {}",
        server.accepted()
    );
    drop(server);

    for (agent, signal, counted) in [
        (
            client_side,
            "tcp_handshake_client",
            &[
                ("connects", CONNECTS),
                ("connected", CONNECTS),
                ("connect_failures", 0),
                ("connects_abandoned", 0),
                ("fast_open_active", with_data),
                ("fast_open_active_failed", 0),
            ][..],
        ),
        (
            server_side,
            "tcp_handshake_server",
            &[
                ("accepted", CONNECTS),
                ("fast_open_cookies", 1),
                ("fast_open_passive", with_data),
                ("fast_open_passive_failed", 0),
            ][..],
        ),
    ] {
        agent.wait_for_window(SystemTime::now(), 2)?;
        let lines = expect::calm(agent)?;
        for (id, offered) in counted {
            stream::ensure_counted(&lines, id, *offered, growth(&lines, "L4", id))?;
        }
        let handshakes = stream::handshakes(&lines, signal);
        stream::ensure_counted(&lines, signal, CONNECTS, handshakes)?;
        let failed = event_count(&lines, "connect_failed", |_| true);
        stream::ensure(&lines, failed == 0, || {
            format!("no connect failed and the events count {failed}")
        })?;
    }
    Ok(())
}

/// Sends a message with the connect itself, and reads it back.
fn exchange(target: SocketAddr) -> Result<()> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let message = [b'o'; MESSAGE_BYTES];
    let open = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let fast = SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32);
    let sent = sendto(&open, &message, fast, &target)?;
    ensure!(sent == MESSAGE_BYTES, "{sent} bytes were sent");
    let mut stream = TcpStream::from(open);
    stream.set_read_timeout(Some(scale::patience(Duration::from_secs(5))))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer == message, "the answer is {} bytes", answer.len());
    Ok(())
}
