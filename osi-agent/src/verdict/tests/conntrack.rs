//! The table of connections: full, nearly full, crowded, and what is none of that.

use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, World, drop_packets, far, finding, mib, near, open, peer, sample, state, traffic,
};
use super::tables::{memory, severity};
use crate::snapshot::{Gauge, Mib, Snapshot};
use crate::verdict::{Confidence, Severity};

/// Counts of connection tracking that grow, and how full the table is.
fn tracked(s: &mut Snapshot, used: u64, (dropped, insert_failed, evicted): (u64, u64, u64)) {
    let state = state(s, CLIENT);
    state.conntrack = Some(Gauge { used, limit: 1000 });
    let counts = state.conntrack_counts.get_or_insert_default();
    counts.dropped += dropped;
    counts.insert_failed += insert_failed;
    counts.evicted += evicted;
}

fn tracking() -> World {
    let mut world = World::new();
    world.window(|s| tracked(s, 10, (0, 0, 0)));
    world
}

#[test]
fn a_full_connection_table_is_named_at_once_and_not_the_filter() {
    let mut world = tracking();
    let full = |s: &mut Snapshot| {
        traffic(s, CLIENT, 1000);
        tracked(s, 1000, (40, 0, 0));
        // Dropped by the hook of connection tracking: two more than were counted when that was read.
        drop_packets(s, CLIENT, "NETFILTER_DROP", "nf_hook_slow", 42);
        peer(s, CLIENT, far(7), 443).attempts += 5;
        s.kernel
            .reasons
            .insert((8, 0), ("NETFILTER_DROP".into(), "nf_hook_slow".into()));
        s.samples.push(sample(
            CLIENT,
            Kind::Drop,
            8,
            (near(1), 40_000),
            (far(7), 443),
        ));
    };
    let map = world.window(full);
    assert_eq!(open(&map), ["conntrack_table_full"]);
    let found = finding(&map, "conntrack_table_full");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Critical)
    );
    assert!(
        found.summary.contains("100 % full: 40 packets"),
        "{}",
        found.summary
    );
    assert_eq!(world.until_calm(|s| tracked(s, 100, (0, 0, 0))), 5);
}

#[test]
fn a_rule_that_drops_beside_a_full_table_is_still_named() {
    let mut world = tracking();
    let map = world.window(|s| {
        traffic(s, CLIENT, 1000);
        tracked(s, 1000, (40, 0, 0));
        drop_packets(s, CLIENT, "NETFILTER_DROP", "nf_hook_slow", 40);
        drop_packets(s, CLIENT, "NETFILTER_DROP", "nft_do_chain", 7);
        peer(s, CLIENT, far(7), 443).attempts += 1;
        s.kernel
            .reasons
            .insert((8, 0), ("NETFILTER_DROP".into(), "nft_do_chain".into()));
        let victim = sample(CLIENT, Kind::Drop, 8, (near(1), 40_000), (far(7), 443));
        s.samples.push(victim);
    });
    assert_eq!(open(&map), ["conntrack_table_full", "packet_filtered"]);
    let row = &finding(&map, "packet_filtered").evidence[0];
    assert!(
        row.value.to_string() == "7" && row.why.ends_with("nft_do_chain"),
        "{row:?}"
    );
}

#[test]
fn a_connection_table_warns_when_it_is_nearly_full() {
    let mut world = tracking();
    let used = |used| move |s: &mut Snapshot| tracked(s, used, (0, 0, 0));
    assert_eq!(open(&world.windows(10, used(949))), [""; 0]);
    assert_eq!(severity(&world.window(used(950))), Some(Severity::Warn));
    // Evicted to make room: it was full within the window.
    let map = tracking().window(|s| tracked(s, 900, (0, 0, 5)));
    assert_eq!(severity(&map), Some(Severity::Warn));
    // A maximum of 0 is none.
    let map = tracking().windows(5, |s| {
        tracked(s, 5000, (0, 0, 0));
        state(s, CLIENT).conntrack = Some(Gauge {
            used: 5000,
            limit: 0,
        });
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn a_full_connection_table_is_likely_where_its_counters_are_blind() {
    let mut world = tracking();
    world.blind = vec!["conntrack_counts"];
    let map = world.window(|s| {
        tracked(s, 999, (0, 0, 0));
        drop_packets(s, CLIENT, "NETFILTER_DROP", "nf_hook_slow", 40);
    });
    let found = finding(&map, "conntrack_table_full");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Likely, Severity::Critical)
    );
}

#[test]
fn translation_without_a_free_port_is_named_at_once() {
    let mut world = tracking();
    let exhausted = |s: &mut Snapshot| {
        mib(s, CLIENT, Mib::IpForwDatagrams, 100);
        tracked(s, 20, (10, 10, 0));
        drop_packets(s, CLIENT, "NETFILTER_DROP", "nf_hook_slow", 10);
        s.kernel
            .reasons
            .insert((8, 0), ("NETFILTER_DROP".into(), "nf_hook_slow".into()));
        let victim = sample(CLIENT, Kind::Drop, 8, (far(1), 40_003), (far(7), 443));
        s.samples.push(victim);
    };
    let map = world.window(exhausted);
    assert_eq!(open(&map), ["nat_ports_exhausted"]);
    let found = finding(&map, "nat_ports_exhausted");
    assert_eq!(found.severity, Severity::Critical);
    assert!(
        found
            .summary
            .contains("from 192.0.2.1 to 192.0.2.7:443, 10 % of"),
        "{}",
        found.summary
    );
    assert_eq!(world.until_calm(|s| tracked(s, 20, (0, 0, 0))), 5);
}

#[test]
fn crowded_buckets_are_neither_translation_nor_a_filter() {
    let mut world = tracking();
    let crowded = |s: &mut Snapshot| {
        mib(s, CLIENT, Mib::IpForwDatagrams, 1000);
        tracked(s, 20, (0, 500, 0));
        let counts = &mut state(s, CLIENT).conntrack_counts;
        counts.get_or_insert_default().chain_too_long += 500;
        drop_packets(s, CLIENT, "NETFILTER_DROP", "nf_hook_slow", 500);
    };
    let map = world.windows(3, crowded);
    assert_eq!(open(&map), ["conntrack_table_full"]);
    let found = finding(&map, "conntrack_table_full");
    assert!(
        found.summary.contains("too few buckets"),
        "{}",
        found.summary
    );
    world.until_calm(|s| tracked(s, 20, (0, 0, 0)));
    // What failed then hides nothing of what finds no room now.
    let map = world.window(|s| tracked(s, 1000, (200, 0, 0)));
    let found = finding(&map, "conntrack_table_full");
    assert_eq!(
        (found.severity, found.impact.connections),
        (Severity::Critical, 200)
    );
}

#[test]
fn a_table_that_refused_nobody_explains_nobody() {
    let map = tracking().windows(3, |s| {
        tracked(s, 960, (0, 0, 0));
        let victim = peer(s, CLIENT, far(7), 443);
        victim.attempts += 5;
        victim.syn_retransmits += 5;
    });
    assert_eq!(open(&map), ["conntrack_table_full", "handshake_timeout"]);
    assert_eq!(finding(&map, "handshake_timeout").explained_by.len(), 0);
}

#[test]
fn connections_that_collide_now_and_then_are_no_exhaustion() {
    for (failed, forwarded) in [(3, 10), (20, 100_000), (10, 5000)] {
        let map = tracking().windows(10, |s| {
            mib(s, CLIENT, Mib::IpForwDatagrams, forwarded);
            tracked(s, 500, (failed, failed, 0));
        });
        assert_eq!(open(&map), [""; 0], "{failed} of {forwarded}");
    }
    let map = tracking().windows(2, |s| {
        mib(s, CLIENT, Mib::IpForwDatagrams, 5000);
        tracked(s, 500, (11, 11, 0));
    });
    assert_eq!(severity(&map), Some(Severity::Warn));
}

#[test]
fn tables_of_a_busy_translator_are_well() {
    let map = tracking().windows(30, |s| {
        traffic(s, CLIENT, 100_000);
        mib(s, CLIENT, Mib::IpForwDatagrams, 100_000);
        mib(s, CLIENT, Mib::UdpInDatagrams, 10_000);
        mib(s, CLIENT, Mib::UdpRcvbufErrors, 5);
        mib(s, CLIENT, Mib::UdpInCsumErrors, 2);
        tracked(s, 700, (4, 4, 0));
        drop_packets(s, CLIENT, "NETFILTER_DROP", "nf_hook_slow", 4);
        memory(s, 400);
        state(s, CLIENT).time_wait = Some(Gauge {
            used: 60_000,
            limit: 131_072,
        });
    });
    assert_eq!(open(&map), [""; 0]);
}
