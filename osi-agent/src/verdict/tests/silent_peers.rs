//! Peers that say nothing, and what is why and what is not; and restarts.

use core::net::IpAddr;

use super::builder::{
    CLIENT, SECOND, World, far, finding, listener, mib, near, open, peer, peer_record, root, state,
    traffic,
};
use super::packet_filtered::{any, filtered, knocks, packet};
use crate::snapshot::{Mib, Snapshot};
use crate::verdict::Severity;

/// So many connects begin, and as many SYNs are sent again.
fn hang(s: &mut Snapshot, (address, port): (IpAddr, u16), count: u64) {
    let victim = peer(s, CLIENT, address, port);
    victim.attempts += count;
    victim.syn_retransmits += count;
}

#[test]
fn clients_that_wait_without_a_limit_are_told_until_they_give_up() {
    let mut world = World::new();
    let connects = |s: &mut Snapshot, begun, connected| {
        let database = peer(s, CLIENT, far(7), 5432);
        database.attempts += begun;
        database.connected += connected;
    };
    world.windows(10, |s| connects(s, 20, 20));
    // The last that get through and the first that hang may begin in the same window.
    world.window(|s| connects(s, 40, 20));
    let mut ids = Vec::new();
    for second in 1..=126_u64 {
        let again = [1, 3, 7, 15, 31, 63].contains(&second);
        let map = world.window(|s| {
            peer(s, CLIENT, far(7), 5432).syn_retransmits += if again { 20 } else { 0 };
        });
        assert!(
            second < 5 || open(&map) == ["handshake_timeout"],
            "{second}"
        );
        ids.extend(map.open.first().map(|found| found.id.clone()));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "it is one outage");
    world.window(|s| peer(s, CLIENT, far(7), 5432).timed_out += 20);
    assert!((5..=9).contains(&world.until_calm(|_| {})));
}

#[test]
fn an_outage_that_follows_answers_is_one() {
    // In windows of a second, and in such that a SYN may be sent again long before their end.
    for length in [1_u64, 8] {
        let mut world = World::new();
        let mut ids = Vec::new();
        for number in 0..=64 / length {
            let until = number * length;
            let seconds = until.saturating_sub(length)..until;
            let again = [1, 3, 7, 15, 31, 63].map(|at| seconds.contains(&at));
            let again = again.iter().filter(|sent| **sent).count() as u64;
            let others = if until <= 8 { 5 } else { 0 };
            let map = world.window(|s| {
                s.boot_ns += (length - 1) * SECOND;
                let database = peer(s, CLIENT, far(7), 5432);
                database.attempts += others + if number == 0 { 4 } else { 0 };
                database.connected += others;
                database.syn_retransmits += again * 4;
            });
            ids.extend(map.open.first().map(|found| found.id.clone()));
        }
        assert!(!ids.is_empty(), "{length}");
        ids.dedup();
        assert_eq!(ids.len(), 1, "{length}");
    }
}

#[test]
fn connects_whose_end_was_missed_are_forgotten() {
    let mut world = World::new();
    let map = world.windows(2, |s| hang(s, (far(7), 80), 10));
    assert_eq!(open(&map), ["handshake_timeout"]);
    // The third SYN would come four seconds after the second.
    assert!((5..=12).contains(&world.until_calm(|_| {})));
}

#[test]
fn what_this_hosts_own_rule_rejects_is_the_rules_doing() {
    let map = World::new().windows(2, |s| {
        let record = peer_record(s, CLIENT, far(7), 81);
        record.outcomes.attempts += 4;
        record.outcomes.refused += 4;
        record.killed.dropped += 4;
        filtered(s, 4, [packet(0, 6, (near(1), 40_000), (far(7), 81))]);
    });
    assert_eq!(open(&map), ["packet_filtered"]);
}

#[test]
fn a_queue_of_an_unknown_listener_is_not_why_a_remote_peer_is_silent() {
    let map = World::new().windows(3, |s| {
        mib(s, CLIENT, Mib::ListenOverflows, 50);
        for address in [far(7), near(1)] {
            hang(s, (address, 80), 5);
        }
    });
    let silent: Vec<_> = map
        .open
        .iter()
        .filter(|found| found.cause == "handshake_timeout")
        .collect();
    assert_eq!(silent.len(), 2);
    for found in silent {
        let is_remote = found.scope.remote == Some(far(7));
        assert_eq!(
            found.explained_by.is_empty(),
            is_remote,
            "{}",
            found.summary
        );
    }
}

#[test]
fn banned_clients_are_not_why_a_database_is_silent() {
    let map = World::new().windows(3, |s| {
        state(s, CLIENT).listeners.rows = vec![listener(any(), 22, 0, 128)];
        mib(s, CLIENT, Mib::TcpPassiveOpens, 5);
        filtered(s, 40, knocks(&[near(60), near(61)], 4, (near(1), 22)));
        hang(s, (far(7), 5432), 5);
    });
    assert_eq!(open(&map), ["handshake_timeout", "packet_filtered"]);
    assert_eq!(finding(&map, "handshake_timeout").explained_by, [""; 0]);
}

#[test]
fn one_frame_in_a_thousand_is_not_why_a_peer_is_silent() {
    let map = |frames| {
        World::new().windows(3, |s| {
            traffic(s, CLIENT, 100_000);
            state(s, CLIENT).links[0].stats.rx_crc += frames;
            hang(s, (far(7), 80), 5);
        })
    };
    let few = map(100);
    assert_eq!(open(&few), ["handshake_timeout", "link_errors"]);
    assert_eq!(finding(&few, "handshake_timeout").explained_by, [""; 0]);
    assert_eq!(root(&map(50_000)), "link_errors");
}

#[test]
fn replicas_that_restart_one_after_the_other_stay_a_warning() {
    let mut world = World::new();
    for second in 0..12_u64 {
        let map = world.window(|s| {
            let (well, refused) = if second % 4 == 0 { (0, 5) } else { (5, 0) };
            let replica = peer(s, CLIENT, far(7), 81);
            replica.attempts += 5;
            replica.connected += well;
            replica.refused += refused;
        });
        let worst = map.open.iter().map(|found| found.severity).max();
        assert!(worst <= Some(Severity::Warn), "second {second}");
    }
}
