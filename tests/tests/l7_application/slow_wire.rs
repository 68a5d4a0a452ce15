//! What clients of DNS, TLS, QUIC and HTTP say that they waited, over a wire with known delays, beside what the agent measured: at
//! the client, and of handshakes, which take a round trip from either end, at the server.
//!
//! All of it lies within one window, so that the window's quantiles are those of the clients' waits: one in ten is slow, and the
//! median and the 99th percentile are far apart.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::delay::DelayedPair;
use osi_tests::grid::{FINE, Waits, agree};
use osi_tests::resolver::{self, Dnsmasq, KNOWN, dig};
use osi_tests::secure::{Certificate, Requests};
use osi_tests::skip::{self, Need};
use osi_tests::topology::Family;
use osi_tests::{expect, http, quic, scale, secure};

const NEEDS: &[Need] = &[
    Need::Device("/dev/net/tun"),
    Need::Program("dnsmasq"),
    Need::Program("dig"),
    Need::Program("nginx"),
    Need::Program("openssl"),
    Need::Program("curl"),
    Need::Program("gtlsserver"),
    Need::Program("gtlsclient"),
];

/// Of each protocol, and how many of them are slow.
const USUAL: u64 = 18;
const SLOW: u64 = 2;
/// Each way, usually and of those that are slow; of what a client adds to it, its own work, a bucket has to hold all.
const DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(110)];
/// On an emulated machine a client's own work takes some milliseconds. A SYN is sent again after a second.
const EMULATED: [Duration; 2] = [Duration::from_millis(220), Duration::from_millis(400)];
/// A round trip for the connection, one for the handshake and one for the request, of all of one client, and as much again.
const WINDOW: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(10);

/// What is timed: the layer, and the signal.
const TIMED: [(&str, &str); 4] = [
    ("L6", "tls_handshake"),
    ("L6", "quic_handshake"),
    ("L7", "dns_time"),
    ("L7", "http_time"),
];
/// Of these, at the server: there the time of an answer is its own work alone.
const AT_SERVER: usize = 2;

#[test]
fn clients_say_what_the_agent_says() -> Result<()> {
    let test = "l7_application::slow_wire::clients_say_what_the_agent_says";
    let Some(_turn) = skip::ready_alone(test, NEEDS)? else {
        return Ok(());
    };
    let pair = DelayedPair::build(Duration::ZERO)?;
    let certificate = Certificate::create(&pair.server, "slow")?;
    let _resolver = Dnsmasq::start(&pair.server, at(53))?;
    let _secure = Nginx::start_tls(&pair.server, at(8443), &certificate, "TLSv1.3")?;
    let _plain = Nginx::start(&pair.server, at(80))?;
    let _quic = quic::serve(&pair.server, at(443), &certificate)?;
    let interval = scale::patience(WINDOW);
    let agents = Agent::watch_both([&pair.client, &pair.server], interval, &[])?;

    let delays = if scale::is_slow() { EMULATED } else { DELAYS };
    let mut waited: [Vec<Duration>; TIMED.len()] = Default::default();
    for (delay, count) in delays.into_iter().zip([USUAL, SLOW]) {
        pair.set_delay(delay);
        for (all, more) in waited.iter_mut().zip(ask(&pair, &certificate, count)?) {
            all.extend(more);
        }
    }
    for (agent, timed) in agents.into_iter().zip([TIMED.len(), AT_SERVER]) {
        let map = agent.wait_for("the clients' window", WINDOW * 2, |line| {
            line.is_fault_map() && line.latency("L6", "quic_handshake", "count") > Some(0)
        })?;
        for ((layer, signal), times) in TIMED.into_iter().zip(&waited).take(timed) {
            let (count, waits) = (map.latency(layer, signal, "count"), times.len() as u64);
            agent.ensure(waits == USUAL + SLOW && count == Some(waits), || {
                format!(
                    "{signal}: the client counts {waits}, and the agent {count:?} in that window"
                )
            })?;
            let mut histogram = Histogram::<u64>::new(3)?;
            for time in times {
                histogram.record(time.as_nanos() as u64)?;
            }
            for ((figure, quantile), delay) in
                [("p50_ns", 0.5), ("p99_ns", 0.99)].into_iter().zip(delays)
            {
                let waits = Waits {
                    least: (delay * 2).as_nanos() as u64,
                    client: histogram.value_at_quantile(quantile),
                    agent: map.latency(layer, signal, figure).unwrap_or(0),
                };
                agree(&agent, &format!("{signal} {figure}"), waits, FINE)?;
            }
        }
        expect::calm(agent)?;
    }
    Ok(())
}

fn at(port: u16) -> SocketAddr {
    DelayedPair::server_at(Family::V4, port)
}

/// Lets the clients of all protocols ask so often, at the same time: how long each of them waited, in the order of [`TIMED`].
fn ask(
    pair: &DelayedPair,
    certificate: &Certificate,
    count: u64,
) -> Result<[Vec<Duration>; TIMED.len()]> {
    let client = &pair.client;
    let names: Vec<_> = (0..count).map(|n| format!("n{n}.{KNOWN}")).collect();
    let requests = Requests {
        server: at(8443),
        trusts: &certificate.file(),
        version: "1.3",
        count,
        per_second: 0,
    };
    let secured = secure::curl(client, requests)?;
    let (over_quic, over_udp, plain) = std::thread::scope(|scope| {
        let over_quic = scope.spawn(|| quic::ask(client, at(443), "v1", count, PATIENCE));
        let over_udp = dig(client, at(53), resolver::TIMES, &names);
        let plain = http::curl(client, at(80), "/", count, &[]);
        (over_quic.join(), over_udp, plain)
    });
    let over_quic = over_quic.map_err(|_| anyhow!("the thread that asks over QUIC panicked"))?;
    Ok([
        secured.join()?.times,
        over_quic?.times,
        over_udp?.waited,
        plain?.waited,
    ])
}
