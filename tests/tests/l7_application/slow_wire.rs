//! What clients of DNS, TLS, QUIC and HTTP say that they waited, over a wire with a known delay, beside what the agent measured.
//!
//! All of it lies within one window, so that the window's quantiles are those of the clients' waits.

use std::time::Duration;

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::delay::DelayedPair;
use osi_tests::grid::{FINE, bucket};
use osi_tests::resolver::{self, Dnsmasq, KNOWN, dig};
use osi_tests::secure::{Certificate, Requests};
use osi_tests::skip::{self, Need};
use osi_tests::topology::Family;
use osi_tests::{expect, http, quic, report, scale, secure};

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

/// Of each protocol.
const COUNT: u64 = 15;
/// Each way; of what a client adds to it, its own work, a bucket has to hold all.
const DELAY: Duration = Duration::from_millis(60);
/// On an emulated machine a client's own work takes some milliseconds.
const EMULATED: Duration = Duration::from_millis(250);
/// A round trip for the connection, one for the handshake and one for the request, of all of one client, and as much again.
const WINDOW: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_secs(10);

/// What the clients of one protocol waited, and where the agent has it.
struct Waited {
    layer: &'static str,
    signal: &'static str,
    times: Vec<Duration>,
}

#[test]
fn clients_say_what_the_agent_says() -> Result<()> {
    let test = "l7_application::slow_wire::clients_say_what_the_agent_says";
    let Some(_turn) = skip::ready_alone(test, NEEDS)? else {
        return Ok(());
    };
    let pair = DelayedPair::build(Duration::ZERO)?;
    let at = |port| DelayedPair::server_at(Family::V4, port);
    let certificate = Certificate::create(&pair.server, "slow")?;
    let _resolver = Dnsmasq::start(&pair.server, at(53))?;
    let _secure = Nginx::start_tls(&pair.server, at(8443), &certificate, "TLSv1.3")?;
    let _plain = Nginx::start(&pair.server, at(80))?;
    let _quic = quic::serve(&pair.server, at(443), &certificate)?;
    let interval = format!("{}s", scale::patience(WINDOW).as_secs());
    let agent = Agent::watch_every(&pair.client, &interval, &[])?;
    let delay = if scale::is_slow() { EMULATED } else { DELAY };
    pair.set_delay(delay);

    let client = &pair.client;
    let names: Vec<_> = (0..COUNT).map(|n| format!("n{n}.{KNOWN}")).collect();
    let requests = Requests {
        server: at(8443),
        trusts: &certificate.file(),
        version: "1.3",
        count: COUNT,
        per_second: 0,
    };
    let secured = secure::curl(client, requests)?;
    let (told, over_udp, plain) = std::thread::scope(|scope| {
        let told = scope.spawn(|| quic::ask(client, at(443), "v1", COUNT, PATIENCE));
        let over_udp = dig(client, at(53), resolver::TIMES, &names);
        let plain = http::curl(client, at(80), "/", COUNT, &[]);
        (told.join(), over_udp, plain)
    });
    let told = told.map_err(|_| anyhow!("the thread that asks over QUIC panicked"))??;
    let waits = [
        waited("L7", "dns_time", over_udp?.waited),
        waited("L7", "http_time", plain?.waited),
        waited("L6", "tls_handshake", secured.join()?.times),
        waited("L6", "quic_handshake", told.times),
    ];
    let map = agent.wait_for("the clients' window", WINDOW * 2, |line| {
        line.is_fault_map() && line.latency("L6", "quic_handshake", "count") > Some(0)
    })?;
    for wait in waits {
        let Waited {
            layer,
            signal,
            times,
        } = wait;
        let count = map.latency(layer, signal, "count");
        let waits = times.len() as u64;
        agent.ensure((waits, count) == (COUNT, Some(COUNT)), || {
            format!("{signal}: the client counts {waits}, and the agent {count:?} in that window")
        })?;
        let mut histogram = Histogram::<u64>::new(3)?;
        for time in times {
            histogram.record(time.as_nanos() as u64)?;
        }
        for (figure, quantile) in [("p50_ns", 0.5), ("p99_ns", 0.99)] {
            let theirs = histogram.value_at_quantile(quantile);
            let ours = map.latency(layer, signal, figure).unwrap_or(0);
            let wire = (delay * 2).as_nanos() as u64;
            let [at, at_client, at_wire] = [ours, theirs, wire].map(|ns| bucket(ns, FINE));
            let sentence = format!(
                "{signal} {figure}: the wire takes {wire}, the client waited {theirs}, the agent says {ours}, bucket {at} beside {at_wire} and {at_client}"
            );
            let agrees = at >= at_wire && at.abs_diff(at_client) <= 1;
            agent.ensure(agrees, || sentence.clone())?;
            report::say("compared", &sentence)?;
        }
    }
    expect::calm(agent)?;
    Ok(())
}

const fn waited(layer: &'static str, signal: &'static str, times: Vec<Duration>) -> Waited {
    Waited {
        layer,
        signal,
        times,
    }
}
