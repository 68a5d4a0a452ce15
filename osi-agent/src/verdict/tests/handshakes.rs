//! SYN queues, ports that nobody listens on any more, handshakes that take long.

use core::net::{IpAddr, Ipv4Addr};

use super::builder::{
    CLIENT, World, drop_packets, far, finding, listener, listener_record, mib, near, open, peer,
    peer_record, resolved, root, state, traffic,
};
use super::loss_and_delay::round_trips;
use crate::snapshot::{Mib, Snapshot, SynQueue};
use crate::verdict::{Confidence, FaultMap, Severity};

const MS: u64 = 1_000_000;

fn syn_queue(s: &mut Snapshot, used: u64) {
    state(s, CLIENT).syn_queues = vec![SynQueue {
        address: near(1),
        port: 80,
        used,
        capacity: 8,
    }];
}

#[test]
fn dropped_syns_are_named_with_their_listener() {
    let mut world = World::new();
    let map = world.window(|s| {
        syn_queue(s, 9);
        mib(s, CLIENT, Mib::TcpReqQFullDrop, 40);
        mib(s, CLIENT, Mib::ListenDrops, 40);
    });
    assert_eq!(open(&map), ["syn_queue_overflow"]);
    let found = finding(&map, "syn_queue_overflow");
    assert_eq!(
        (found.severity, found.confidence, found.scope.port),
        (Severity::Critical, Confidence::Certain, Some(80))
    );
    assert_eq!(map.layers[3].saturation_ratio, Some(9.0 / 8.0));
    assert_eq!(world.until_calm(|s| syn_queue(s, 0)), 5);
}

#[test]
fn the_reserve_for_known_peers_counts_where_the_queue_is_full() {
    let drops = |s: &mut Snapshot, used| {
        syn_queue(s, used);
        mib(s, CLIENT, Mib::ListenDrops, 40);
    };
    assert_eq!(open(&World::new().window(|s| drops(s, 7))), [""; 0]);
    let map = World::new().window(|s| drops(s, 8));
    assert_eq!(root(&map), "syn_queue_overflow");
}

#[test]
fn three_dropped_syns_or_few_of_many_are_no_fault() {
    let mut world = World::new();
    let few = |s: &mut Snapshot| mib(s, CLIENT, Mib::TcpReqQFullDrop, 3);
    assert_eq!(open(&world.windows(10, few)), [""; 0]);
    let many = |s: &mut Snapshot| {
        mib(s, CLIENT, Mib::TcpReqQFullDrop, 4);
        mib(s, CLIENT, Mib::TcpPassiveOpens, 10_000);
    };
    assert_eq!(open(&world.windows(10, many)), [""; 0]);
    let map = world.window(|s| mib(s, CLIENT, Mib::TcpReqQFullDrop, 4));
    let found = finding(&map, "syn_queue_overflow");
    assert_eq!(found.confidence, Confidence::Possible);
}

#[test]
fn cookies_are_at_most_a_warning_and_must_go_on() {
    let mut world = World::new();
    let cookies = |s: &mut Snapshot| {
        syn_queue(s, 8);
        mib(s, CLIENT, Mib::SyncookiesSent, 200);
        mib(s, CLIENT, Mib::TcpPassiveOpens, 200);
        mib(s, CLIENT, Mib::ListenDrops, 5);
    };
    assert_eq!(open(&world.window(cookies)), [""; 0]);
    let map = world.windows(10, cookies);
    assert_eq!(finding(&map, "syn_queue_overflow").severity, Severity::Warn);
    let mut world = World::new();
    let always = |s: &mut Snapshot| {
        mib(s, CLIENT, Mib::SyncookiesSent, 200);
        state(s, CLIENT).syn_cookies = Some(2);
    };
    assert_eq!(open(&world.windows(10, always)), [""; 0]);
}

#[test]
fn an_application_that_does_not_accept_explains_a_full_syn_queue() {
    let mut world = World::new();
    let map = world.window(|s| {
        state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, 9, 8)];
        mib(s, CLIENT, Mib::ListenOverflows, 9);
        mib(s, CLIENT, Mib::ListenDrops, 49);
        syn_queue(s, 9);
        mib(s, CLIENT, Mib::TcpReqQFullDrop, 40);
    });
    assert_eq!(root(&map), "accept_queue_overflow");
    let symptom = finding(&map, "syn_queue_overflow");
    assert_eq!(
        symptom.explained_by,
        [finding(&map, "accept_queue_overflow").id.clone()]
    );
}

fn serving(s: &mut Snapshot) {
    state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, 0, 128)];
}

fn ended(s: &mut Snapshot, refused: u64) {
    state(s, CLIENT).listeners.clear();
    listener_record(s, CLIENT, 80).refused += refused;
}

#[test]
fn a_server_that_ended_is_named_and_is_critical_when_it_stays_away() {
    let mut world = World::new();
    world.windows(3, serving);
    let map = world.window(|s| ended(s, 4));
    assert_eq!(open(&map), ["no_listener"]);
    let found = finding(&map, "no_listener");
    assert_eq!(
        (found.severity, found.confidence),
        (Severity::Warn, Confidence::Certain)
    );
    assert_eq!(
        (found.scope.local, found.scope.port),
        (Some(near(1)), Some(80))
    );
    let map = world.windows(3, |s| ended(s, 4));
    assert_eq!(finding(&map, "no_listener").severity, Severity::Warn);
    let map = world.window(|s| ended(s, 4));
    assert_eq!(finding(&map, "no_listener").severity, Severity::Critical);
    assert_eq!(world.until_calm(serving), 5);
}

#[test]
fn a_slow_trickle_of_clients_is_added_up() {
    let mut world = World::new();
    world.windows(3, serving);
    assert_eq!(open(&world.windows(3, |s| ended(s, 1))), [""; 0]);
    assert_eq!(open(&world.window(|s| ended(s, 1))), ["no_listener"]);
    assert_eq!(open(&world.windows(4, |s| ended(s, 0))), ["no_listener"]);
    assert_eq!(resolved(&world.window(|s| ended(s, 0))), ["no_listener"]);
}

#[test]
fn a_restart_is_a_warning_and_over() {
    let mut world = World::new();
    world.windows(3, serving);
    let map = world.windows(3, |s| ended(s, 200));
    assert_eq!(finding(&map, "no_listener").severity, Severity::Warn);
    let map = world.windows(5, serving);
    assert_eq!(resolved(&map), ["no_listener"]);
}

/// Before 5.17 every SYN that is dropped counts: in the windows of a listener's end and of its return those of its port do.
#[test]
fn kernels_without_reasons_count_the_windows_in_which_a_listener_came_or_went() {
    let mut world = World::new();
    world.now.kernel.nameless = true;
    world.windows(3, serving);
    let told = |map: &FaultMap| {
        let rows = map.layers[3].counters.iter();
        rows.filter(|row| row.id == "syns_refused")
            .map(|row| row.delta)
            .sum::<u64>()
    };
    let full = |s: &mut Snapshot| {
        serving(s);
        listener_record(s, CLIENT, 80).refused += 7;
        drop_packets(s, CLIENT, "NOT_SPECIFIED", "tcp_v4_rcv", 7);
    };
    let gone = |s: &mut Snapshot| {
        ended(s, 4);
        drop_packets(s, CLIENT, "NOT_SPECIFIED", "tcp_v4_rcv", 4);
    };
    assert_eq!(told(&world.window(full)), 0);
    assert_eq!(told(&world.window(gone)), 4);
    assert_eq!(told(&world.window(full)), 7);
    assert_eq!(told(&world.window(full)), 0);
}

#[test]
fn ports_that_never_served_or_whose_listeners_were_not_seen_open_nothing() {
    let mut world = World::new();
    let scan = |s: &mut Snapshot| {
        for port in 1..200 {
            listener_record(s, CLIENT, port).refused += 50;
        }
    };
    assert_eq!(open(&world.windows(10, scan)), [""; 0]);
    // A port that is tried for one window.
    world.window(serving);
    assert_eq!(open(&world.window(|s| ended(s, 50))), [""; 0]);

    let mut world = World::new();
    world.windows(3, serving);
    // The namespace had no turn in this pass.
    let unread = |s: &mut Snapshot| {
        ended(s, 50);
        state(s, CLIENT).listeners.read_ns = 0;
    };
    assert_eq!(open(&world.windows(7, unread)), [""; 0]);
    assert_eq!(open(&world.window(|s| ended(s, 4))), ["no_listener"]);
}

#[test]
fn one_client_now_and_then_is_a_scan() {
    let mut world = World::new();
    world.windows(3, serving);
    for second in 0..200_u64 {
        let map = world.window(|s| ended(s, u64::from(second % 4 == 0)));
        assert_eq!(open(&map), [""; 0], "{second}");
    }
}

#[test]
fn without_reasons_only_what_found_no_socket_is_refused() {
    for (function, named) in [("nf_hook_slow", false), ("tcp_v4_rcv", true)] {
        let mut world = World::new();
        world.windows(3, serving);
        let map = world.window(|s| {
            s.kernel.nameless = true;
            ended(s, 4);
            drop_packets(s, CLIENT, "NOT_SPECIFIED", function, 4);
        });
        assert_eq!(open(&map).contains(&"no_listener"), named, "{function}");
    }
}

#[test]
fn a_listener_that_is_gone_explains_refusals_on_this_host() {
    let mut world = World::new();
    world.windows(3, serving);
    let map = world.window(|s| {
        ended(s, 9);
        let outcome = peer(s, CLIENT, near(1), 80);
        outcome.attempts += 9;
        outcome.refused += 9;
    });
    assert_eq!(root(&map), "no_listener");
    assert_eq!(open(&map), ["connection_refused", "no_listener"]);
    assert_eq!(finding(&map, "connection_refused").explained_by.len(), 1);
}

fn handshakes(s: &mut Snapshot, fast: u64, slow: u64) {
    let record = peer_record(s, CLIENT, far(7), 443);
    record.outcomes.attempts += fast + slow;
    record.outcomes.connected += fast + slow;
    (0..fast).for_each(|_| record.times.record(20 * MS));
    (0..slow).for_each(|_| record.times.record(400 * MS));
}

#[test]
fn handshakes_slower_than_usual_are_named() {
    let mut world = World::new();
    world.windows(6, |s| handshakes(s, 100, 0));
    assert_eq!(open(&world.window(|s| handshakes(s, 96, 4))), [""; 0]);
    let map = world.window(|s| handshakes(s, 96, 4));
    assert_eq!(open(&map), ["handshake_slow"]);
    let found = finding(&map, "handshake_slow");
    assert_eq!(
        (found.severity, found.scope.remote, found.scope.port),
        (Severity::Warn, Some(far(7)), Some(443))
    );
    assert!(
        found.summary.contains("192.0.2.7:443") && found.summary.contains("22.2 ms is usual"),
        "{}",
        found.summary
    );
    assert_eq!(world.until_calm(|s| handshakes(s, 100, 0)), 5);
}

#[test]
fn queues_on_the_path_are_evidence_of_why() {
    let told = |round_trip_ns| {
        let mut world = World::new();
        world.windows(6, |s| handshakes(s, 100, 0));
        let map = world.windows(2, |s| {
            handshakes(s, 50, 50);
            round_trips(s, 20, round_trip_ns, 20 * MS);
        });
        let evidence = &finding(&map, "handshake_slow").evidence;
        evidence.iter().any(|row| row.signal == "tcp_rtt")
    };
    assert!(told(100 * MS));
    assert!(!told(20 * MS), "the way is as long as ever");
}

#[test]
fn few_slow_handshakes_are_no_fault() {
    let after_well = |windows, all, slow| {
        let mut world = World::new();
        world.windows(6, |s| handshakes(s, 100, 0));
        world.windows(windows, |s| handshakes(s, all, slow))
    };
    assert_eq!(open(&after_well(10, 9, 3)), [""; 0]);
    assert_eq!(open(&after_well(10, 500, 5)), [""; 0]);
    assert_eq!(open(&after_well(2, 500, 6)), ["handshake_slow"]);
}

#[test]
fn what_was_always_slow_or_is_new_is_no_fault() {
    assert_eq!(
        open(&World::new().windows(20, |s| handshakes(s, 0, 50))),
        [""; 0]
    );
    let mut world = World::new();
    world.windows(4, |s| handshakes(s, 50, 0));
    assert_eq!(open(&world.window(|s| handshakes(s, 0, 50))), [""; 0]);
}

#[test]
fn a_path_that_has_moved_for_good_becomes_usual() {
    let mut world = World::new();
    world.windows(10, |s| handshakes(s, 50, 0));
    let slow = |s: &mut Snapshot| handshakes(s, 0, 50);
    assert_eq!(open(&world.windows(300, slow)), ["handshake_slow"]);
    assert_eq!(open(&world.windows(3000, slow)), [""; 0]);
}

#[test]
fn a_handshake_with_a_syn_sent_again_is_not_slow() {
    let mut world = World::new();
    let lossy = |s: &mut Snapshot| {
        handshakes(s, 100, 0);
        let outcome = peer(s, CLIENT, far(7), 443);
        // Completed after a second: the programs keep its time out of the peer's.
        outcome.attempts += 5;
        outcome.connected += 5;
        outcome.syn_retransmits += 5;
    };
    assert_eq!(open(&world.windows(20, lossy)), [""; 0]);
}

#[test]
fn a_listener_is_slow_when_a_tenth_of_its_clients_are() {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let accept = |s: &mut Snapshot, fast: u64, slow: u64| {
        state(s, CLIENT).listeners.rows = vec![listener(any, 80, 0, 128)];
        let record = listener_record(s, CLIENT, 80);
        (0..fast).for_each(|_| record.times.record(20 * MS));
        (0..slow).for_each(|_| record.times.record(400 * MS));
    };
    let mut world = World::new();
    world.windows(6, |s| accept(s, 100, 0));
    assert_eq!(open(&world.windows(5, |s| accept(s, 95, 5))), [""; 0]);
    let map = world.windows(2, |s| accept(s, 80, 20));
    assert_eq!(open(&map), ["handshake_slow"]);
    assert_eq!(finding(&map, "handshake_slow").scope.port, Some(80));
    // How long clients think before they say something is not the way's doing.
    let mut world = World::new();
    world.windows(6, |s| accept(s, 100, 0));
    let map = world.windows(5, |s| {
        accept(s, 80, 20);
        mib(s, CLIENT, Mib::TcpDeferAcceptDrop, 20);
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn loss_explains_slow_handshakes() {
    let mut world = World::new();
    let healthy = |s: &mut Snapshot| {
        traffic(s, CLIENT, 10_000);
        handshakes(s, 100, 0);
    };
    world.windows(6, healthy);
    let map = world.windows(2, |s| {
        traffic(s, CLIENT, 10_000);
        mib(s, CLIENT, Mib::TcpRetransSegs, 500);
        handshakes(s, 50, 50);
    });
    assert_eq!(root(&map), "packet_loss");
    assert_eq!(open(&map), ["handshake_slow", "packet_loss"]);
}
