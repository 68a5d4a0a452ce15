//! All local ports towards one destination are taken, or all of UDP.

use core::net::IpAddr;

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use super::super::text::{inside, percent, place, remote, ss_address};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::port_holders::{self, last_refused, who};
use super::udp_ports;
use crate::layer::l4_transport::handshake::TCP_PORT_SEARCH;
use crate::layer::l4_transport::ports::{
    EPHEMERAL_PORTS, IPPROTO_TCP, PORTS_EXHAUSTED, TCP_BINDS_REFUSED, UDP_PORTS, UDP_PORTS_REFUSED,
};
use crate::layer::{Amount, Meter, PeerDelta};
use crate::scope::{Proto, Scope, ScopeKind};
use crate::snapshot::PortPool;

pub(in crate::verdict) static EPHEMERAL_PORTS_EXHAUSTED: Cause = Cause {
    id: "ephemeral_ports_exhausted",
    layer: Layer::L4,
    class: CauseClass::Capacity,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "No local port is free for a further TCP connect to a destination, or none for UDP, or soon none will be.",
    // A full TIME_WAIT table frees ports (`tcp_time_wait()` keeps none of what finds no room): it explains nothing here.
    explained_by: &[],
    suspects: &[],
    reads: &[
        &EPHEMERAL_PORTS,
        &PORTS_EXHAUSTED,
        &TCP_BINDS_REFUSED,
        &UDP_PORTS,
        &UDP_PORTS_REFUSED,
    ],
    thresholds: &[
        Threshold::of("warn_ratio", 0.8),
        Threshold::of("trend_ratio", 0.5),
        Threshold::of("full_within_s", 60.0),
    ],
    detect,
    advise,
};

/// How long the kernel keeps a closed connection in TIME_WAIT.
const TIME_WAIT_S: f64 = 60.0;

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let peers = facts.window.peers();
    let refused: Vec<_> = peers
        .iter()
        .filter(|peer| peer.delta.port_exhausted > 0)
        .collect();
    found.extend(refused.iter().map(|peer| exhausted(facts, peer)));
    found.extend(unattributed(facts, &refused));
    let filling = facts
        .map
        .meters(&EPHEMERAL_PORTS)
        .filter(|meter| is_filling(facts, meter));
    found.extend(filling.map(|meter| warning(facts, meter)));
    found.extend(
        facts
            .map
            .counters(&TCP_BINDS_REFUSED)
            .map(|row| unbound(facts, row)),
    );
    udp_ports::detect(facts, found);
}

/// The kernel refused a port: nothing is more certain.
fn exhausted(facts: &Facts, peer: &PeerDelta) -> Sighting {
    let here = |meter: &&Meter| {
        let scope = &meter.reading.scope;
        scope.netns.as_ref() == Some(&peer.netns)
            && scope.remote == Some(peer.address)
            && scope.port == Some(peer.port)
    };
    let pool = facts.map.meters(&EPHEMERAL_PORTS).find(here);
    let unknown_source = || Scope {
        local: None,
        // The address is not used: the kernel had none to give.
        ..Scope::pool(&peer.netns, peer.address, peer.address, peer.port)
    };
    let scope = pool.map_or_else(unknown_source, |meter| meter.reading.scope.clone());
    let failed = peer.delta.port_exhausted;
    let mut evidence = vec![Evidence::new(
        PORTS_EXHAUSTED.id,
        failed as f64,
        "connections",
        "connects that found no free port",
    )];
    evidence.extend(pool.map(usage));
    let holders = self::pool(facts, &scope).and_then(|pool| pool.holders.as_ref());
    evidence.extend(port_holders::evidence(holders));
    let held = who(holders);
    let same = |remote: Option<IpAddr>, port| remote == Some(peer.address) && port == peer.port;
    let samples = facts
        .samples(Kind::PortExhausted, &peer.netns)
        .filter(|seen| same(seen.remote, seen.remote_port));
    let process = samples.filter_map(|seen| seen.process).last();
    let who = last_refused(process);
    let share = failed as f64 / peer.delta.attempts.max(failed) as f64;
    sighting(scope, failed, share, evidence, |scope| {
        format!(
            "No free local port for connections to {}{}: {failed} connects failed{who}{held}.",
            remote(scope),
            place(scope)
        )
    })
}

fn sighting(
    scope: Scope,
    failed: u64,
    share_ratio: f64,
    evidence: Vec<Evidence>,
    say: impl Fn(&Scope) -> String,
) -> Sighting {
    Sighting {
        onset: Onset::Hard,
        confidence: Confidence::Certain,
        severity: Severity::Critical,
        evidence,
        impact: Impact {
            connections: failed,
            share_ratio,
            peers: u64::from(scope.remote.is_some()),
        },
        summary: say(&scope),
        scope,
    }
}

/// Exhaustion that no peer's row has: peers beyond the bound.
fn unattributed(facts: &Facts, refused: &[&PeerDelta]) -> Vec<Sighting> {
    let rows = facts.map.counters(&PORTS_EXHAUSTED);
    rows.filter(|row| {
        !refused
            .iter()
            .any(|peer| row.scope.netns.as_ref() == Some(&peer.netns))
    })
    .map(|row| {
        let process = row
            .scope
            .netns
            .as_ref()
            .and_then(|netns| facts.samples(Kind::PortExhausted, netns).last()?.process);
        let who = last_refused(process);
        let scope = Scope {
            kind: ScopeKind::Pool,
            proto: Some(Proto::Tcp),
            ..row.scope.clone()
        };
        let evidence = vec![Evidence::new(
            PORTS_EXHAUSTED.id,
            row.delta as f64,
            "connections",
            "connects that found no free port",
        )];
        sighting(scope, row.delta, 1.0, evidence, |scope| {
            format!(
                "No free local port for TCP connects{}: {} of them failed{who}.",
                place(scope),
                row.delta
            )
        })
    })
    .collect()
}

/// The kernel had no port for sockets that wanted any before they have a destination: `bind` to port 0, `listen`.
fn unbound(facts: &Facts, row: &Amount) -> Sighting {
    let scope = Scope {
        kind: ScopeKind::Pool,
        proto: Some(Proto::Tcp),
        ..row.scope.clone()
    };
    let netns = row.scope.netns.as_ref();
    let process = netns.and_then(|netns| {
        let samples = facts.samples(Kind::PortRefused, netns);
        samples
            .filter(|seen| seen.code == IPPROTO_TCP)
            .last()?
            .process
    });
    let who = last_refused(process);
    let refused = row.delta;
    let why = "sockets that wanted any local port and got none";
    let evidence = vec![Evidence::new(
        TCP_BINDS_REFUSED.id,
        refused as f64,
        "events",
        why,
    )];
    sighting(scope, 0, 0.0, evidence, |scope| {
        format!(
            "No local TCP port was free{} for {refused} sockets that wanted any{who}.",
            place(scope)
        )
    })
}

fn usage(meter: &Meter) -> Evidence {
    let why = format!(
        "ports in use of {} for this destination",
        meter.reading.capacity.unwrap_or_default()
    );
    Evidence::new(EPHEMERAL_PORTS.id, meter.reading.used, "ports", why)
}

fn is_filling(facts: &Facts, meter: &Meter) -> bool {
    meter.ratio.is_some_and(|ratio| {
        ratio >= facts.limit("warn_ratio")
            || ratio >= facts.limit("trend_ratio") && is_full_soon(facts, meter)
    })
}

/// Ports in TIME_WAIT come back after a minute: where they fill the pool, it ends up at a minute's growth and may never be full.
fn is_full_soon(facts: &Facts, meter: &Meter) -> bool {
    let trends = &facts.history.trends;
    let soon = trends
        .time_to_full_ns(meter)
        .is_some_and(|ns| ns as f64 / 1e9 <= facts.limit("full_within_s"));
    let held = pool(facts, &meter.reading.scope).is_some_and(|pool| pool.time_wait * 2 < pool.used);
    let growth = trends.growth_per_s(meter).unwrap_or(0.0);
    soon && (held
        || meter
            .reading
            .capacity
            .is_some_and(|usable| growth * TIME_WAIT_S >= usable))
}

fn warning(facts: &Facts, meter: &Meter) -> Sighting {
    let scope = meter.reading.scope.clone();
    let mut evidence = vec![usage(meter)];
    let pool = pool(facts, &scope);
    evidence.extend(pool.map(|pool| {
        Evidence::new(
            "time_wait",
            pool.time_wait as f64,
            "ports",
            "of these are held by closed connections in TIME_WAIT",
        )
    }));
    evidence.extend(pool.filter(|pool| pool.reusable > 0).map(|pool| {
        Evidence::new(
            "time_wait_reusable",
            pool.reusable as f64,
            "ports",
            "more are in TIME_WAIT and free to be used again",
        )
    }));
    evidence.extend(left(facts, meter));
    evidence.extend(long_search(facts));
    let holders = pool.and_then(|pool| pool.holders.as_ref());
    evidence.extend(port_holders::evidence(holders));
    let (when, held) = (until_full(facts, meter), who(holders));
    let ratio = percent(meter.ratio.unwrap_or_default());
    Sighting {
        onset: Onset::Hard,
        confidence: Confidence::Likely,
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: 0.0,
            peers: 1,
        },
        summary: format!(
            "{ratio} of the local ports to {}{} are in use{when}{held}.",
            remote(&scope),
            place(&scope)
        ),
        scope,
    }
}

/// The kernel tries every other port of the range first, and then those between: from half of a pool on, searches are long.
fn long_search(facts: &Facts) -> Option<Evidence> {
    let (mean_ns, times) = facts.history.searches.long(facts.map)?;
    let why = format!(
        "mean time that connects of this host took to find a free port, {times:.0} times the usual one"
    );
    Some(Evidence::new(TCP_PORT_SEARCH.id, mean_ns, "ns", why))
}

/// How long until nothing is left, as evidence.
pub(super) fn left(facts: &Facts, meter: &Meter) -> Option<Evidence> {
    let left = facts.history.trends.time_to_full_ns(meter)?;
    let why = "until no port is left, at this rate";
    Some(Evidence::new("time_to_full", left as f64, "ns", why))
}

/// The same in words, or nothing where it is not filling.
pub(super) fn until_full(facts: &Facts, meter: &Meter) -> String {
    let left = facts.history.trends.time_to_full_ns(meter);
    left.map_or_else(String::new, |ns| {
        format!(", full in {:.0} s at this rate", ns as f64 / 1e9)
    })
}

fn pool<'a>(facts: &Facts<'a>, scope: &Scope) -> Option<&'a PortPool> {
    let netns = scope.netns.as_ref()?;
    let state = facts
        .window
        .now
        .namespaces
        .iter()
        .find(|state| state.netns == *netns)?;
    let is_it = |pool: &&PortPool| {
        (Some(pool.local), Some(pool.remote), Some(pool.port))
            == (scope.local, scope.remote, scope.port)
    };
    state.pools.iter().find(is_it)
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let first = if udp_ports::is_udp(&finding.scope) {
        udp_ports::advise(finding)
    } else {
        keep_alive(finding)
    };
    let widen = Advice {
        text: "Widen the range of local ports.".to_owned(),
        confirm: inside(
            &finding.scope,
            "sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports",
        ),
        change: inside(
            &finding.scope,
            "sysctl -w net.ipv4.ip_local_port_range='10240 65535'",
        ),
        trade_off:
            "Services that listen in the widened range need net.ipv4.ip_local_reserved_ports."
                .to_owned(),
    };
    vec![first, widen]
}

fn keep_alive(finding: &Finding) -> Advice {
    let to = finding
        .scope
        .remote
        .map_or_else(String::new, |remote| format!(" dst {}", ss_address(remote)));
    let port = finding
        .scope
        .port
        .map_or_else(String::new, |port| format!(" dport = :{port}"));
    let used = finding.row(&EPHEMERAL_PORTS).map(|row| row.value);
    let now = used.map_or_else(String::new, |used| format!(" ({used} in use)"));
    Advice {
        text: format!("Reuse connections to {}{now}: a pool with keep-alive needs a few ports where one per request needs thousands.", remote(&finding.scope)),
        confirm: inside(&finding.scope, &format!("ss -Htan{to}{port} | wc -l")),
        change: "turn on keep-alive or connection pooling in the client, or spread over more destination addresses".to_owned(),
        trade_off: "Idle connections hold memory on both sides.".to_owned(),
    }
}
