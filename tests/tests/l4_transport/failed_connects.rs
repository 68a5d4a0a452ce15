//! Connects that nobody waits for fail in every way at once, and the ledger says which layer ended them: as many of each as were
//! made.
//!
//! What `connect()` itself refuses for want of a route never becomes a connect to the kernel, and only a counter of L3 moves: here
//! the route goes while the SYN is on its way.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::kernel;
use osi_tests::knock::begin_all;
use osi_tests::lab_program::Holder;
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, growth, rows, sum};
use osi_tests::topology::{Family, Routed};
use osi_tests::wait;
use serde_json::Value;

/// What ended the connects, the error that they end with, and how many there are: of each another number.
struct Fate {
    layer: &'static str,
    what: &'static str,
    errno: Option<&'static str>,
    count: u64,
}

const fn fate(
    layer: &'static str,
    what: &'static str,
    errno: Option<&'static str>,
    count: u64,
) -> Fate {
    Fate {
        layer,
        what,
        errno,
        count,
    }
}

const RESET: Fate = fate("L4", "reset", Some("ECONNREFUSED"), 5);
const FILTERED: Fate = fate("L3", "NETFILTER_DROP", Some("ETIMEDOUT"), 6);
/// A router answers five packets of one sender at once, and then one a second: two SYNs of each.
const REFUSED: Fate = fate("L3", "icmp_error", Some("EHOSTUNREACH"), 2);
const SILENT: Fate = fate("L4", "no_answer", Some("ETIMEDOUT"), 7);
/// Kernels name the reason or the function, and not all the same.
const UNRESOLVED: Fate = fate("L2", "", Some("EHOSTUNREACH"), 3);
const LOST: Fate = fate("L3", "no_route", Some("ENETUNREACH"), 8);
const NO_PORT: Fate = fate("L4", "no_port", Some("EADDRNOTAVAIL"), 10);
const GIVEN_UP: Fate = fate("L7", "given_up", None, 9);

/// A router's words for an address behind no route are others in IPv6.
fn fates(family: Family) -> [Fate; 8] {
    let refused = Fate {
        errno: family.pick(REFUSED.errno, Some("ENETUNREACH")),
        ..REFUSED
    };
    [
        RESET, FILTERED, refused, SILENT, UNRESOLVED, LOST, NO_PORT, GIVEN_UP,
    ]
}

const PORTS: u64 = 40;
/// Nobody listens here, and the client's own rule drops what goes there.
const FILTERED_PORT: u16 = 90;
/// The router drops what goes there.
const SILENT_PORT: u16 = 91;

#[test]
fn failed_connects() -> Result<()> {
    let test = "l4_transport::failed_connects::failed_connects";
    scenario(test, Family::V4)
}

#[test]
fn failed_connects_v6() -> Result<()> {
    let test = "l4_transport::failed_connects::failed_connects_v6";
    scenario(test, Family::V6)
}

fn scenario(test: &str, family: Family) -> Result<()> {
    // Alone: the busier process 1 is, the more some kernels hide of what a timer ends (`osi_tests::hidden`).
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("nft")])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    impatient(&lab, family)?;
    let (at, beside) = (
        |port| Routed::server_at(family, port),
        |number| Routed::beside_server(family, number, SILENT_PORT),
    );
    let (refused, lost) = (beside(9), beside(10));
    lab.router
        .ip(&["route", "add", "unreachable", &refused.ip().to_string()])?;
    let _silence = DropRule::add(&lab.router, "forward", &format!("tcp dport {SILENT_PORT}"))?;
    let _filter = DropRule::add(&lab.client, "output", &format!("tcp dport {FILTERED_PORT}"))?;
    let server = Server::start(&lab.server, at(7), Behaviour::Hold)?;
    let agent = Agent::watch(&lab.client)?;

    let begin = |fate: &Fate, target: SocketAddr| begin_all(&lab.client, target, fate.count);
    let held = [
        begin(&RESET, at(81))?,
        begin(&FILTERED, at(FILTERED_PORT))?,
        begin(&REFUSED, refused)?,
        begin(&SILENT, at(SILENT_PORT))?,
        begin(&UNRESOLVED, Routed::nobody_at(family, 7))?,
        // The last one: its route is to go before its SYN is sent again.
        begin(&LOST, lost)?,
    ];
    lab.client
        .ip(&["route", "add", "throw", &lost.ip().to_string()])?;
    drop(begin(&GIVEN_UP, at(SILENT_PORT))?);
    let program = env!("CARGO_BIN_EXE_hold-connections");
    let holder = Holder::start(&lab.client, program, at(7), PORTS + NO_PORT.count)?;
    ensure!(
        (holder.held, holder.refused) == (PORTS, NO_PORT.count),
        "{} connections were made and {} refused",
        holder.held,
        holder.refused
    );

    let fates = fates(family);
    let all: u64 = fates.iter().map(|fate| fate.count).sum();
    let told = |lines: &[Line]| ledger(lines, |_| true);
    let ended = wait::until("all connects have ended", Duration::from_secs(10), || {
        Ok((told(&agent.lines()) >= all).then_some(()))
    });
    ended.map_err(|error| agent.failure(&error))?;
    drop((held, holder, server));
    let lines = agent.stop()?;
    for fate in &fates {
        let is_it = |row: &Value| {
            let killed_by = &row["killed_by"];
            let what = fate.what.is_empty() || killed_by["what"] == fate.what;
            what && killed_by["layer"] == fate.layer && row["errno"].as_str() == fate.errno
        };
        let rows = ledger(&lines, is_it);
        let events = failures(&lines, is_it);
        stream::ensure(&lines, [rows, events] == [fate.count; 2], || {
            format!(
                "{} connects were ended by {} {} ({:?}), and the ledger has {rows} and the events {events}",
                fate.count, fate.layer, fate.what, fate.errno
            )
        })?;
    }
    let signals = ["connect_failures", "connects_abandoned", "ports_exhausted"];
    let counted = [
        told(&lines),
        failures(&lines, |_| true),
        signals.iter().map(|id| growth(&lines, "L4", id)).sum(),
    ];
    stream::ensure(&lines, counted == [all; 3], || {
        format!("{all} connects failed, and ledger, events and signals count {counted:?}")
    })
}

/// Few ports, one SYN sent again, ICMP errors without a limit, and a neighbour that is given up before any SYN is sent again.
fn impatient(lab: &Routed, family: Family) -> Result<()> {
    let version = family.pick("ipv4", "ipv6");
    let neighbour = |name: &str| format!("net/{version}/neigh/eth0/{name}");
    let range = format!("40000 {}", 40_000 + PORTS - 1);
    // Not IPv4's limit itself: set to 0, it takes away what the limit of unreachable routes is counted with (seen on 5.10).
    let unlimited = family.pick("net/ipv4/icmp_ratemask", "net/ipv6/icmp/ratelimit");
    lab.router.set_sysctl(unlimited, "0")?;
    for (key, value) in [
        ("net/ipv4/ip_local_port_range", range.as_str()),
        ("net/ipv4/tcp_syn_retries", "1"),
        (&neighbour("mcast_solicit"), "1"),
        (&neighbour("retrans_time_ms"), "400"),
    ] {
        lab.client.set_sysctl(key, value)?;
    }
    if kernel::is_at_least(6, 5)? {
        lab.client
            .set_sysctl("net/ipv4/tcp_syn_linear_timeouts", "0")?;
    }
    Ok(())
}

/// Connects in the matching rows of the ledger, all windows together.
fn ledger(lines: &[Line], matches: impl Fn(&Value) -> bool) -> u64 {
    sum(lines, |map| {
        rows(map.layer("L4"), "failed_connects")
            .filter(|row| matches(row))
            .filter_map(|row| row["count"].as_u64())
            .sum()
    })
}

/// Connects in the matching events.
fn failures(lines: &[Line], matches: impl Fn(&Value) -> bool) -> u64 {
    ["connect_failed", "port_exhausted"]
        .iter()
        .map(|kind| event_count(lines, kind, &matches))
        .sum()
}
