//! Loss and what is none: needless retransmissions, reordering, peers that do not read, queues.

use core::net::IpAddr;

use osi_common::histogram::LatencyHistogram;
use osi_common::latency::{LATENCIES, Latency};
use osi_common::occurrence::{Kind, Phase};

use super::builder::{
    CLIENT, World, complete, far, finding, listener, mib, near, occur, open, peer, requests, root,
    state, traffic,
};
use crate::snapshot::{Gauge, Mib, Snapshot, Stalled};
use crate::verdict::{Confidence, FaultMap, Severity};

/// Segments sent, sent again, and reported as received twice.
pub(super) fn resent(s: &mut Snapshot, sent: u64, again: u64, needless: u64) {
    traffic(s, CLIENT, sent);
    mib(s, CLIENT, Mib::TcpRetransSegs, again);
    mib(s, CLIENT, Mib::TcpDsackRecvSegs, needless);
}

#[test]
fn reordering_is_no_loss() {
    let mut world = World::new();
    let calm = world.windows(10, |s| {
        resent(s, 10_000, 1000, 980);
        mib(s, CLIENT, Mib::TcpSackReorder, 500);
        mib(s, CLIENT, Mib::TcpOfoQueue, 5000);
    });
    assert_eq!(open(&calm), [""; 0]);
    // More reports than retransmissions: some belong to the window before.
    assert_eq!(
        open(&world.windows(10, |s| resent(s, 10_000, 500, 900))),
        [""; 0]
    );
}

#[test]
fn what_was_needed_is_loss() {
    let mut world = World::new();
    assert_eq!(
        open(&world.windows(10, |s| resent(s, 1000, 120, 100))),
        [""; 0]
    );
    let map = world.windows(2, |s| resent(s, 1000, 121, 100));
    assert_eq!(root(&map), "packet_loss");
    let found = finding(&map, "packet_loss");
    assert!(
        found.evidence[0]
            .why
            .ends_with("of them 100 were not needed"),
        "{:?}",
        found.evidence
    );
    assert!(
        found.summary.contains("2.1 % of its segments again"),
        "{}",
        found.summary
    );
}

fn sent_again_to(s: &mut Snapshot, address: IpAddr, again: u64) {
    let victim = peer(s, CLIENT, address, 443);
    victim.retransmits += again;
    occur(s, CLIENT, Kind::Retransmit, Phase::Data as u32, again);
}

#[test]
fn the_peer_that_most_goes_to_is_named() {
    let lossy = |worst: u64, other: u64| {
        let mut world = World::new();
        let map = world.windows(2, |s| {
            resent(s, 10_000, worst + other, 0);
            sent_again_to(s, far(7), worst);
            sent_again_to(s, far(8), other);
        });
        finding(&map, "packet_loss").clone()
    };
    let found = lossy(300, 100);
    assert!(
        found.summary.contains("75 % of them to 192.0.2.7:443"),
        "{}",
        found.summary
    );
    assert_eq!(found.impact.peers, 2);
    let to: Vec<_> = found
        .evidence
        .iter()
        .filter(|row| row.why.contains("sent again to"))
        .collect();
    assert_eq!((to.len(), to[0].value, to[1].value), (2, 300.0, 100.0));
    assert!(!lossy(200, 200).summary.contains("of them to"));
}

/// Connections to one peer that wait, of those that there are, and for how long.
fn waiting(s: &mut Snapshot, connections: u64, open: u64, longest_ms: u32) {
    state(s, CLIENT).stalled = vec![Stalled {
        remote: far(7),
        port: 9092,
        connections,
        open,
        longest_ms,
        waiting_bytes: 65_536,
    }];
}

fn severity_of(map: &FaultMap) -> Severity {
    finding(map, "peer_not_reading").severity
}

#[test]
fn a_peer_that_does_not_read_is_named() {
    let mut world = World::new();
    assert_eq!(open(&world.window(|s| waiting(s, 1, 1, 1000))), [""; 0]);
    let map = world.window(|s| waiting(s, 1, 1, 2000));
    assert_eq!(open(&map), ["peer_not_reading"]);
    let found = finding(&map, "peer_not_reading");
    assert_eq!(
        (found.severity, found.confidence),
        (Severity::Warn, Confidence::Certain)
    );
    assert_eq!(
        (found.scope.remote, found.scope.port),
        (Some(far(7)), Some(9092))
    );
    assert!(
        found.summary.contains("1 of 1 connections wait"),
        "{}",
        found.summary
    );
    // It may be a printer without paper.
    let lasting = world.windows(10, |s| waiting(s, 2, 2, 9000));
    assert_eq!(severity_of(&lasting), Severity::Warn);
    let three = world.windows(5, |s| waiting(s, 3, 3, 9000));
    assert_eq!(severity_of(&three), Severity::Critical);
    let advice = format!("{:?}", map.verdict.advice);
    assert!(
        advice.contains("65536 bytes wait")
            && advice.contains("ss -Htno dst 192.0.2.7 dport = :9092"),
        "{advice}"
    );
    assert_eq!(world.until_calm(|s| state(s, CLIENT).stalled.clear()), 5);
}

#[test]
fn short_waits_and_a_few_of_many_are_backpressure_at_work() {
    let mut world = World::new();
    assert_eq!(open(&world.windows(10, |s| waiting(s, 1, 1, 999))), [""; 0]);
    assert_eq!(
        open(&world.windows(10, |s| waiting(s, 5, 100, 60_000))),
        [""; 0]
    );
    assert_eq!(
        open(&world.windows(2, |s| waiting(s, 6, 100, 60_000))),
        ["peer_not_reading"]
    );
}

#[test]
fn a_peer_that_stalls_in_one_window_of_three_is_well() {
    let mut world = World::new();
    for second in 0..12_u64 {
        let map = world.window(|s| {
            state(s, CLIENT).stalled.clear();
            if second % 3 == 0 {
                waiting(s, 1, 1, 1500);
            }
        });
        assert_eq!(open(&map), [""; 0], "second {second}");
    }
}

/// So many round trips of these lengths.
pub(super) fn round_trips(s: &mut Snapshot, count: u64, now_ns: u64, least_ns: u64) {
    let latencies = &mut s.kernel.latencies;
    latencies.resize(LATENCIES as usize, LatencyHistogram::EMPTY);
    for _ in 0..count {
        latencies[Latency::RoundTrip as usize].record(now_ns);
        latencies[Latency::LeastRoundTrip as usize].record(least_ns);
    }
}

#[test]
fn round_trips_far_above_the_least_are_evidence_of_queues() {
    const MS: u64 = 1_000_000;
    let told = |count, now_ns, least_ns| {
        let mut world = World::new();
        let map = world.windows(2, |s| {
            resent(s, 10_000, 500, 0);
            round_trips(s, count, now_ns, least_ns);
        });
        assert_eq!(open(&map), ["packet_loss"]);
        finding(&map, "packet_loss")
            .evidence
            .iter()
            .any(|row| row.signal == "tcp_rtt")
    };
    assert!(told(20, 100 * MS, 20 * MS));
    assert!(!told(19, 100 * MS, 20 * MS), "too few");
    assert!(!told(20, 50 * MS, 20 * MS), "less than three times");
    assert!(!told(20, 10 * MS, MS), "next to nothing");
}

#[test]
fn a_host_without_memory_for_tcp_explains_who_waits_for_itself() {
    let map_of = |remote| {
        World::new().windows(3, |s| {
            waiting(s, 19, 100, 5000);
            state(s, CLIENT).stalled[0].remote = remote;
            s.host.tcp_memory = Some(Gauge {
                used: 1000,
                limit: 1000,
            });
        })
    };
    for own in [near(1), IpAddr::V4(core::net::Ipv4Addr::LOCALHOST)] {
        let map = map_of(own);
        assert_eq!(root(&map), "tcp_memory_pressure");
        assert_eq!(finding(&map, "peer_not_reading").explained_by.len(), 1);
    }
    // What another host does not read may be why the memory is gone, and not the other way round.
    let map = map_of(far(7));
    assert_eq!(finding(&map, "peer_not_reading").explained_by.len(), 0);
}

#[test]
fn an_application_that_reads_slowly_explains_who_waits_for_it() {
    const MS: u64 = 1_000_000;
    let reads_after = |s: &mut Snapshot, ns| {
        complete(&mut requests(s, CLIENT, 9092).dwell, 20, ns);
        state(s, CLIENT).listeners.rows = vec![listener(near(1), 9092, 0, 128)];
    };
    for (remote, roots) in [(near(1), 1), (far(7), 2)] {
        let mut world = World::new();
        world.windows(6, |s| reads_after(s, MS));
        let map = world.windows(3, |s| {
            reads_after(s, 1600 * MS);
            waiting(s, 8, 8, 1500);
            state(s, CLIENT).stalled[0].remote = remote;
        });
        assert_eq!(open(&map), ["application_slow", "peer_not_reading"]);
        let explained = &finding(&map, "peer_not_reading").explained_by;
        assert_eq!(explained.len(), 2 - roots, "{remote}");
    }
}
