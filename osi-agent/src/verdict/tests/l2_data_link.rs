//! Queues and neighbours.

use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, World, drop_packets, far, finding, mib, near, neighbour, occur, open, peer, root,
    state, traffic,
};
use crate::snapshot::{Fdb, Mib, Snapshot};
use crate::verdict::{Confidence, FaultMap, Severity};

fn drops(s: &mut Snapshot, packets: u64, dropped: u64) {
    traffic(s, CLIENT, packets);
    state(s, CLIENT).qdiscs[0].drops += dropped;
}

#[test]
fn an_overflowing_queue_is_named() {
    let mut world = World::new();
    assert_eq!(open(&world.window(|s| drops(s, 10_000, 20))), [""; 0]);
    let map = world.window(|s| drops(s, 10_000, 20));
    assert_eq!(root(&map), "egress_queue_overflow");
    assert_eq!(
        finding(&map, "egress_queue_overflow").severity,
        Severity::Warn
    );
    assert_eq!(map.layers[5].drops, 20);
    assert_eq!(world.until_calm(|s| drops(s, 10_000, 0)), 5);
}

#[test]
fn few_drops_or_a_small_share_are_no_fault() {
    let mut world = World::new();
    assert_eq!(open(&world.windows(10, |s| drops(s, 100, 10))), [""; 0]);
    assert_eq!(
        open(&world.windows(10, |s| drops(s, 100_000, 100))),
        [""; 0]
    );
}

#[test]
fn a_queue_that_hurts_a_tenth_becomes_critical() {
    let mut world = World::new();
    let map = world.windows(2, |s| drops(s, 800, 200));
    assert_eq!(
        finding(&map, "egress_queue_overflow").severity,
        Severity::Warn
    );
    let map = world.windows(2, |s| drops(s, 800, 200));
    assert_eq!(
        finding(&map, "egress_queue_overflow").severity,
        Severity::Critical
    );
}

/// A meter of the layer, and whether its value is a lower bound.
fn meter(map: &FaultMap, id: &str) -> Option<(f64, Option<f64>, bool)> {
    let rows = &map.layers[5].meters;
    let row = rows.iter().find(|row| row.id == id)?;
    Some((row.used, row.ratio, row.lower_bound))
}

#[test]
fn a_queue_delays_by_what_waits_over_what_leaves() {
    let mut world = World::new();
    let with = |packets, waiting| {
        move |s: &mut Snapshot| {
            traffic(s, CLIENT, packets);
            state(s, CLIENT).qdiscs[0].backlog_bytes = waiting;
        }
    };
    assert_eq!(meter(&world.window(with(1000, 0)), "queue_delay"), None);
    // A megabyte leaves in a second, and at its end 50 kB wait; the mean is half of it, and then all of it.
    let delay = |map: &FaultMap| meter(map, "queue_delay");
    let growing = delay(&world.window(with(1000, 50_000)));
    assert_eq!(growing, Some((25e6, None, false)));
    let full = delay(&world.window(with(1000, 50_000)));
    assert_eq!(full, Some((50e6, None, false)));
    let stuck = delay(&world.window(with(0, 50_000)));
    assert_eq!(stuck, Some((1e9, None, true)));
}

#[test]
fn a_bridge_fills_where_it_has_a_limit() {
    let mut world = World::new();
    let with = |limit| {
        move |s: &mut Snapshot| {
            let learned = 90;
            state(s, CLIENT).links[0].fdb = Some(Fdb { learned, limit });
        }
    };
    let map = world.window(with(None));
    assert_eq!(meter(&map, "fdb_entries"), Some((90.0, None, false)));
    let map = world.window(with(Some(100)));
    assert_eq!(meter(&map, "fdb_entries"), Some((90.0, Some(0.9), false)));
}

fn failed(s: &mut Snapshot, last: u8, age_ms: u64) {
    state(s, CLIENT).neighbours.unresolved = vec![neighbour(near(last), true, age_ms)];
}

fn unreachable(s: &mut Snapshot, last: u8) {
    let victim = peer(s, CLIENT, near(last), 80);
    victim.attempts += 1;
    victim.unreachable += 1;
    occur(s, CLIENT, Kind::ConnectFailed, 113, 1);
}

#[test]
fn a_neighbour_that_just_failed_is_named_at_once() {
    let mut world = World::new();
    let map = world.window(|s| {
        failed(s, 9, 500);
        unreachable(s, 9);
    });
    let found = finding(&map, "neighbor_unreachable");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Critical)
    );
    assert!(
        found.summary.contains("10.0.0.9") && found.summary.contains("eth0"),
        "{}",
        found.summary
    );
    // Asked again: incomplete again, still the same finding.
    let id = found.id.clone();
    let map = world.windows(20, |s| {
        state(s, CLIENT).neighbours.unresolved = vec![neighbour(near(9), false, 200)];
    });
    assert_eq!(finding(&map, "neighbor_unreachable").id, id);
    assert_eq!(
        world.until_calm(|s| state(s, CLIENT).neighbours.unresolved.clear()),
        5
    );
}

#[test]
fn drops_of_waiting_packets_prove_it_too() {
    let mut world = World::new();
    let map = world.window(|s| {
        failed(s, 9, 500);
        drop_packets(s, CLIENT, "NEIGH_FAILED", "arp_error_report", 3);
    });
    assert_eq!(
        finding(&map, "neighbor_unreachable").confidence,
        Confidence::Certain
    );
}

/// Somebody scans the networks behind a router, or a container ended: packets of others wait in vain in normal life.
#[test]
fn what_a_router_throws_away_for_others_is_no_critical_fault() {
    let mut world = World::new();
    let scanned = |last| {
        move |s: &mut Snapshot| {
            mib(s, CLIENT, Mib::IpForwDatagrams, 1000);
            failed(s, last, 500);
            drop_packets(s, CLIENT, "NEIGH_FAILED", "arp_error_report", 3);
        }
    };
    for last in 20..30 {
        assert_eq!(open(&world.window(scanned(last))), [""; 0]);
    }
    // Unless it is the way to elsewhere.
    let map = world.window(|s| {
        state(s, CLIENT).routes[1].gateway = Some(near(9));
        scanned(9)(s);
    });
    assert_eq!(
        finding(&map, "neighbor_unreachable").severity,
        Severity::Critical
    );
}

#[test]
fn a_queue_that_is_managed_drops_some() {
    let mut world = World::new();
    world.window(|s| state(s, CLIENT).qdiscs[0].kind = "fq_codel".to_owned());
    assert_eq!(open(&world.windows(5, |s| drops(s, 10_000, 400))), [""; 0]);
    let map = world.windows(2, |s| drops(s, 10_000, 600));
    assert_eq!(root(&map), "egress_queue_overflow");
    let advice = &map.verdict.advice[0];
    assert!(advice.text.contains("keep the delay short"), "{advice:?}");
}

#[test]
fn failed_entries_of_long_ago_are_no_fault() {
    let mut world = World::new();
    assert_eq!(open(&world.windows(10, |s| failed(s, 9, 60_000))), [""; 0]);
}

#[test]
fn a_slow_answer_is_possible_only_when_it_takes_long() {
    let mut world = World::new();
    let asked = |ms| {
        move |s: &mut Snapshot| {
            state(s, CLIENT).neighbours.unresolved = vec![neighbour(near(9), false, ms)];
        }
    };
    assert_eq!(open(&world.windows(5, asked(900))), [""; 0]);
    world.window(asked(1_100));
    let map = world.window(asked(2_100));
    let found = finding(&map, "neighbor_unreachable");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Possible, Severity::Warn)
    );
}

#[test]
fn a_sweep_is_one_warning() {
    let mut world = World::new();
    let sweep = |s: &mut Snapshot| {
        state(s, CLIENT).neighbours.unresolved = (1..=200)
            .map(|last| neighbour(near(last), true, 500))
            .collect();
    };
    let map = world.windows(3, sweep);
    assert_eq!(open(&map), ["neighbor_unreachable"]);
    assert_eq!(map.open[0].severity, Severity::Warn);
    assert_eq!(map.open[0].impact.peers, 200);
}

#[test]
fn a_dead_gateway_explains_what_lies_behind_it_and_nothing_else() {
    let mut world = World::new();
    let silent = |s: &mut Snapshot, address| {
        let victim = peer(s, CLIENT, address, 80);
        victim.attempts += 5;
        victim.syn_retransmits += 5;
    };
    let map = world.windows(3, |s| {
        failed(s, 254, 500);
        silent(s, far(7));
        silent(s, near(7));
    });
    let explained: Vec<_> = map
        .open
        .iter()
        .filter(|f| f.cause == "handshake_timeout")
        .collect();
    assert_eq!(explained.len(), 2);
    for found in explained {
        assert_eq!(
            found.explained_by.is_empty(),
            found.scope.remote == Some(near(7)),
            "{:?}",
            found.scope
        );
    }
}

/// So many frames come in, of which the interface's host drops so many for a reason.
fn rejected(s: &mut Snapshot, reason: &str, received: u64, dropped: u64) {
    state(s, CLIENT).links[0].stats.rx_packets += received;
    drop_packets(s, CLIENT, reason, "__netif_receive_skb_core", dropped);
}

#[test]
fn frames_that_nobody_takes_are_named() {
    for reason in ["UNHANDLED_PROTO", "NOT_SPECIFIED", "OTHERHOST"] {
        let mut world = World::new();
        let map = world.windows(2, |s| rejected(s, reason, 1000, 50));
        assert_eq!(root(&map), "frames_rejected", "{reason}");
        let summary = &finding(&map, "frames_rejected").summary;
        assert!(
            summary.contains("50 frames") && summary.contains("5.0 %"),
            "{summary}"
        );
        assert_eq!(world.until_calm(|s| rejected(s, reason, 1000, 0)), 5);
    }
}

#[test]
fn what_a_standby_link_receives_is_no_fault() {
    let mut world = World::new();
    let map = world.windows(5, |s| {
        rejected(s, "UNHANDLED_PROTO", 1000, 50);
        state(s, CLIENT).links[0].stats.rx_nohandler += 50;
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn discovery_protocols_and_captures_are_no_fault() {
    let mut world = World::new();
    let discovery = |s: &mut Snapshot| rejected(s, "UNHANDLED_PROTO", 8, 8);
    assert_eq!(
        open(&world.windows(5, discovery)),
        [""; 0],
        "a quiet network"
    );
    let busy = |s: &mut Snapshot| rejected(s, "UNHANDLED_PROTO", 10_000, 50);
    assert_eq!(open(&world.windows(5, busy)), [""; 0], "a small share");
    world.window(|s| state(s, CLIENT).links[0].promiscuity = 1);
    let captured = |s: &mut Snapshot| rejected(s, "OTHERHOST", 1000, 900);
    assert_eq!(open(&world.windows(5, captured)), [""; 0], "a capture");
}

fn full_table(s: &mut Snapshot, refused: u64) {
    let table = &mut s.host.neighbour_table_v4;
    table.limit = Some(64);
    *table.overflows.get_or_insert_default() += refused;
}

#[test]
fn a_full_neighbour_table_is_named_at_once() {
    let mut world = World::new();
    world.window(|s| full_table(s, 7));
    assert_eq!(open(&world.window(|_| {})), [""; 0], "it was full before");
    let map = world.window(|s| full_table(s, 3));
    assert_eq!(root(&map), "neighbor_table_full");
    let found = finding(&map, "neighbor_table_full");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Critical)
    );
    assert_eq!(world.until_calm(|_| {}), 5);
}

#[test]
fn a_table_that_others_filled_is_not_the_watched_namespaces_fault() {
    let mut world = World::new();
    world.single_netns = true;
    world.window(|s| full_table(s, 0));
    assert_eq!(open(&world.windows(5, |s| full_table(s, 3))), [""; 0]);
    let map = world.window(|s| {
        full_table(s, 3);
        drop_packets(s, CLIENT, "NEIGH_CREATEFAIL", "ip_finish_output2", 1);
    });
    let scope = &finding(&map, "neighbor_table_full").scope;
    assert_eq!(scope.netns.as_ref().map(|netns| netns.inode), Some(CLIENT));
}
