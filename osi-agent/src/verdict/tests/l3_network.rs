//! Routes and filters.

use core::net::{IpAddr, Ipv6Addr};

use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, World, drop_packets, far, finding, mib, near, open, peer, root, sample, state, traffic,
};
use crate::snapshot::{Mib, Route, Snapshot};
use crate::verdict::{Confidence, Severity};

#[test]
fn a_deleted_route_is_named_at_once() {
    let mut world = World::new();
    let map = world.window(|s| {
        state(s, CLIENT)
            .routes
            .retain(|route| route.destination.is_some());
        mib(s, CLIENT, Mib::IpOutNoRoutes, 10);
    });
    assert_eq!(root(&map), "no_route");
    let found = finding(&map, "no_route");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Critical)
    );
    assert_eq!(
        map.verdict.advice[0].confirm,
        "ip netns exec client ip -4 route show"
    );
    assert_eq!(world.until_calm(|_| {}), 5);
}

#[test]
fn one_stray_packet_is_none_and_one_a_window_is_a_fault() {
    let mut world = World::new();
    assert_eq!(
        open(&world.window(|s| mib(s, CLIENT, Mib::IpOutNoRoutes, 1))),
        [""; 0]
    );
    world.windows(5, |_| {});
    let map = world.windows(2, |s| mib(s, CLIENT, Mib::IpOutNoRoutes, 1));
    assert_eq!(open(&map), ["no_route"]);
}

#[test]
fn a_small_share_is_no_fault() {
    let mut world = World::new();
    let map = world.windows(5, |s| {
        traffic(s, CLIENT, 50_000);
        mib(s, CLIENT, Mib::IpOutNoRoutes, 50);
    });
    assert_eq!(open(&map), [""; 0]);
}

fn v6(prefix: u8) -> Route {
    let network = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));
    Route {
        destination: (prefix > 0).then_some(network),
        prefix,
        ifindex: Some(super::builder::ETH0),
        v6: true,
    }
}

#[test]
fn a_host_without_ipv6_is_healthy() {
    let mut world = World::new();
    let noise = |s: &mut Snapshot| mib(s, CLIENT, Mib::Ip6OutNoRoutes, 20);
    assert_eq!(open(&world.windows(10, noise)), [""; 0]);
    // Nor does a network of its own make it one that reaches the world.
    world.window(|s| state(s, CLIENT).routes.push(v6(64)));
    assert_eq!(open(&world.windows(10, noise)), [""; 0]);
}

#[test]
fn a_lost_ipv6_route_is_a_fault() {
    for prefix in [0, 64] {
        let mut world = World::new();
        world.window(|s| state(s, CLIENT).routes.push(v6(prefix)));
        let map = world.window(|s| {
            state(s, CLIENT).routes.retain(|route| !route.v6);
            mib(s, CLIENT, Mib::Ip6OutNoRoutes, 20);
        });
        assert_eq!(root(&map), "no_route");
        assert!(
            map.verdict.summary.starts_with("No IPv6 route"),
            "{}",
            map.verdict.summary
        );
        assert!(map.verdict.advice[0].confirm.contains("ip -6 route"));
    }
}

type End = (IpAddr, u16);

const NETFILTER: u32 = 8;

fn filtered(s: &mut Snapshot, function: &str, packets: u64, ends: &[(End, End)]) {
    s.kernel.reasons.insert(NETFILTER, "NETFILTER_DROP".into());
    drop_packets(s, CLIENT, "NETFILTER_DROP", function, packets);
    let samples = ends
        .iter()
        .map(|(local, remote)| sample(CLIENT, Kind::Drop, NETFILTER, *local, *remote));
    s.samples.extend(samples);
}

#[test]
fn a_filter_on_our_own_connection_is_named_from_the_first_packet() {
    let mut world = World::new();
    let map = world.window(|s| {
        traffic(s, CLIENT, 100_000);
        peer(s, CLIENT, far(7), 443).attempts += 1;
        filtered(s, "nf_hook_slow", 1, &[((near(1), 40_000), (far(7), 443))]);
    });
    assert_eq!(root(&map), "packet_filtered");
    let found = finding(&map, "packet_filtered");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Critical)
    );
    assert!(found.summary.contains("192.0.2.7:443"), "{}", found.summary);
    assert_eq!(world.until_calm(|_| {}), 5);
}

#[test]
fn a_filtered_service_is_named() {
    let mut world = World::new();
    let ends: Vec<_> = (0..6)
        .map(|n| ((near(1), 80), (far(7), 40_000 + n)))
        .collect();
    let map = world.window(|s| filtered(s, "nft_do_chain", 20, &ends));
    assert_eq!(root(&map), "packet_filtered");
    assert_eq!(map.layers[4].drops, 20);
    assert_eq!(
        finding(&map, "packet_filtered").confidence,
        Confidence::Certain
    );
}

#[test]
fn a_scan_that_the_filter_is_there_for_is_no_fault() {
    let mut world = World::new();
    let ends: Vec<_> = (0..20)
        .map(|n| ((near(1), 1000 + n * 7), (far(7), 45_555)))
        .collect();
    assert_eq!(
        open(&world.windows(10, |s| filtered(s, "nft_do_chain", 100, &ends))),
        [""; 0]
    );
}

#[test]
fn a_few_drops_or_a_small_share_are_no_fault() {
    let mut world = World::new();
    let ends = [
        ((near(1), 22), (far(7), 40_000)),
        ((near(1), 22), (far(7), 40_001)),
    ];
    assert_eq!(
        open(&world.windows(10, |s| filtered(s, "nft_do_chain", 3, &ends))),
        [""; 0]
    );
    let map = world.windows(10, |s| {
        traffic(s, CLIENT, 100_000);
        filtered(s, "nft_do_chain", 100, &ends);
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn drops_for_other_reasons_are_not_the_filters() {
    let mut world = World::new();
    let map = world.windows(5, |s| {
        drop_packets(s, CLIENT, "QUEUE_PURGE", "tcp_v4_destroy_sock", 1000);
    });
    assert_eq!(open(&map), [""; 0]);
    assert_eq!(
        map.layers
            .iter()
            .map(|layer| layer.benign_drops)
            .sum::<u64>(),
        1000
    );
    assert_eq!(map.layers.iter().map(|layer| layer.drops).sum::<u64>(), 0);
}
