//! TLS handshakes of a real client with a real server: each is counted by how it ended, on both sides, and as long as it took.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect::calm;
use osi_tests::grid::{FINE, bucket};
use osi_tests::secure::{Certificate, NAME, Requests, Told, curl};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, growth, sum};
use osi_tests::topology::{Family, Pair};

const NEEDS: [Need; 3] = [
    Need::Program("nginx"),
    Need::Program("openssl"),
    Need::Program("curl"),
];

/// Of each kind.
const GOOD: u64 = 12;
const BAD: u64 = 3;

const BOTH: &str = "TLSv1.2 TLSv1.3";

#[test]
fn every_handshake_is_counted_as_the_client_counts_it() -> Result<()> {
    let test = "l6_presentation::tls::every_handshake_is_counted_as_the_client_counts_it";
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    // Their first bytes could be those of an IP header.
    for (host, address) in [
        (&pair.client, "62:00:00:00:00:01"),
        (&pair.server, "46:00:00:00:00:02"),
    ] {
        host.ip(&["link", "set", "dev", "eth0", "address", address])?;
    }
    for host in [&pair.client, &pair.server] {
        host.ip(&["neigh", "flush", "dev", "eth0"])?;
    }
    let good = Certificate::create(&pair.server, "good")?;
    let expired = Certificate::create_expired(&pair.server, "expired")?;
    let (v4, v6) = (
        Pair::server_at(Family::V4, 443),
        Pair::server_at(Family::V6, 8443),
    );
    let (old, new) = (
        Pair::server_at(Family::V4, 8444),
        Pair::server_at(Family::V4, 8445),
    );
    let _servers = [
        Nginx::start_tls(&pair.server, v4, &good, BOTH)?,
        Nginx::start_tls(&pair.server, v6, &good, BOTH)?,
        Nginx::start_tls(&pair.server, old, &expired, BOTH)?,
        Nginx::start_tls(&pair.server, new, &good, "TLSv1.3")?,
    ];
    let (asking, serving) = (Agent::watch(&pair.client)?, Agent::watch(&pair.server)?);
    let ask = |server, trusts: &Certificate, version, count| {
        let requests = Requests {
            server,
            trusts: &trusts.file(),
            version,
            count,
            per_second: 0,
        };
        curl(&pair.client, requests)?.join()
    };
    let mut completed = 0;
    for server in [v4, v6] {
        for version in ["1.2", "1.3"] {
            let told = ask(server, &good, version, GOOD)?;
            ensure!((told.completed(), told.failed) == (GOOD, 0), "{told:?}");
            completed += GOOD;
            // It trusts another one.
            let told = ask(server, &expired, version, BAD)?;
            ensure!((told.completed(), told.failed) == (0, BAD), "{told:?}");
        }
    }
    let late = ask(old, &expired, "1.3", BAD)?;
    let unknown = ask(new, &good, "1.2", BAD)?;
    ensure!((late.failed, unknown.failed) == (BAD, BAD), "{unknown:?}");
    for agent in [asking, serving] {
        agent.wait_for_window(SystemTime::now(), 2)?;
        let lines = agent.stop()?;
        let grown = |id| growth(&lines, "L6", id);
        for id in ["tls12_completed", "tls13_completed"] {
            stream::ensure_counted(&lines, id, completed / 2, grown(id))?;
        }
        for (reason, offered) in [
            ("unknown_ca", 4 * BAD),
            ("certificate_expired", BAD),
            ("protocol_version", BAD),
        ] {
            let count = event_count(&lines, "tls_failed", |event| event["reason"] == reason);
            stream::ensure_counted(&lines, reason, offered, count)?;
        }
        stream::ensure_counted(&lines, "refusals", 5 * BAD, grown("tls_client_alerts"))?;
        stream::ensure_counted(&lines, "versions", BAD, grown("tls_server_alerts"))?;
        stream::ensure_counted(&lines, "aborts", 0, grown("tls_aborted"))?;
        let timed = sum(&lines, |map| {
            map.latency("L6", "tls_handshake", "count").unwrap_or(0)
        });
        stream::ensure_counted(&lines, "times", completed, timed)?;
        let named = event_count(&lines, "tls_failed", |event| event["name"] == NAME);
        stream::ensure(&lines, named > 0, || {
            format!("{named} failures are told with the name {NAME}")
        })?;
        stream::ensure_none_in_flight(&lines, "L6", "tls_handshake")?;
    }
    Ok(())
}

/// Over a wire that takes next to no time, what curl measures contains what the agent does: curl's clock starts before the hello is
/// made, keys and all, and stops after what ends the handshake is written. On a wire with delays that are large against that, both
/// say the same (`l7_application::slow_wire`).
#[test]
fn handshakes_take_as_long_as_the_client_says_and_open_nothing() -> Result<()> {
    let test = "l6_presentation::tls::handshakes_take_as_long_as_the_client_says_and_open_nothing";
    let Some(_turn) = skip::ready_to_time(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let certificate = Certificate::create(&pair.server, "good")?;
    let server = Pair::server_at(Family::V4, 443);
    let _server = Nginx::start_tls(&pair.server, server, &certificate, BOTH)?;
    let agent = Agent::watch(&pair.client)?;
    let requests = Requests {
        server,
        trusts: &certificate.file(),
        version: "1.3",
        count: 600,
        per_second: 10,
    };
    let told = curl(&pair.client, requests)?.join()?;
    ensure!((told.completed(), told.failed) == (600, 0), "{told:?}");
    agent.wait_for_window(SystemTime::now(), 1)?;
    let lines = calm(agent)?;
    let measured = sum(&lines, |map| {
        map.latency("L6", "tls_handshake", "count").unwrap_or(0)
    });
    stream::ensure_counted(&lines, "times", 600, measured)?;
    let (client, ours) = (median(told), median_ns(&lines));
    // A bucket for the sake of the windows, whose median is not quite that of all.
    let is_within = bucket(ours, FINE) <= bucket(client, FINE) + 1 && ours * 2 >= client;
    stream::ensure(&lines, is_within, || {
        format!("curl's median is {client} ns, and the median of the windows' {ours}")
    })
}

fn median(mut told: Told) -> u64 {
    told.times.sort_unstable();
    let middle = told.times.get(told.times.len() / 2).copied();
    middle.unwrap_or(Duration::ZERO).as_nanos() as u64
}

/// The median of the windows' medians.
fn median_ns(lines: &[Line]) -> u64 {
    let maps = lines.iter().filter(|line| line.is_fault_map());
    let mut medians: Vec<_> = maps
        .filter_map(|map| map.latency("L6", "tls_handshake", "p50_ns"))
        .filter(|ns| *ns > 0)
        .collect();
    medians.sort_unstable();
    medians.get(medians.len() / 2).copied().unwrap_or(0)
}
