//! Routes.

use core::net::{IpAddr, Ipv6Addr};

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, ETH0, World, drop_packets, far, finding, mib, near, open, root, sample, state, traffic,
};
use crate::snapshot::{Blind, Gauge, Mib, Route, Snapshot};
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
        gateway: None,
        v6: true,
        advertised: false,
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
fn what_one_reader_counted_is_told_while_another_is_late() {
    let mut world = World::new();
    world.window(|s| state(s, CLIENT).routes.push(v6(0)));
    let map = world.window(|s| {
        s.blind = vec![Blind {
            layer: Layer::L3,
            what: "routes".to_owned(),
            why: "timed out".to_owned(),
        }];
        mib(s, CLIENT, Mib::Ip6OutNoRoutes, 20);
    });
    let mut layers = map.layers.iter();
    let l3 = layers.find(|row| row.layer == "L3").expect("L3");
    let counted = l3.counters.iter().find(|row| row.id == "ip6_routeless");
    assert_eq!(counted.map(|row| row.delta), Some(20));
    assert!(l3.blind.iter().any(|row| row.what == "ip6_routeless"));
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
        assert_eq!(open(&map), ["ipv6_broken"]);
        assert_eq!(finding(&map, "ipv6_broken").severity, Severity::Warn);
        let summary = &map.verdict.summary;
        assert!(
            summary.starts_with("No IPv6 route") && summary.ends_with("IPv4 works."),
            "{summary}"
        );
        assert!(map.verdict.advice[0].confirm.contains("ip -6 route"));
    }
}

#[test]
fn a_router_that_advertised_the_lost_route_is_named() {
    let mut world = World::new();
    let router = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    world.window(|s| {
        state(s, CLIENT).routes.push(Route {
            gateway: Some(router),
            advertised: true,
            ..v6(0)
        });
    });
    let map = world.window(|s| {
        state(s, CLIENT).routes.retain(|route| !route.v6);
        mib(s, CLIENT, Mib::Ip6OutNoRoutes, 20);
    });
    let text = &map.verdict.advice[0].text;
    assert!(text.contains("advertised by fe80::1 on eth0"), "{text}");
}

#[test]
fn where_both_families_lose_their_way_it_is_the_routes() {
    let mut world = World::new();
    world.window(|s| state(s, CLIENT).routes.push(v6(0)));
    let map = world.window(|s| {
        state(s, CLIENT)
            .routes
            .retain(|route| route.destination.is_some());
        mib(s, CLIENT, Mib::Ip6OutNoRoutes, 20);
        mib(s, CLIENT, Mib::IpOutNoRoutes, 10);
    });
    assert_eq!(open(&map), ["no_route"]);
}

fn filtered(snapshot: &mut Snapshot, packets: u64) {
    mib(snapshot, CLIENT, Mib::IpReversePathFilter, packets);
    mib(snapshot, CLIENT, Mib::IpInReceives, packets);
    drop_packets(
        snapshot,
        CLIENT,
        "IP_RPFILTER",
        "ip_rcv_finish_core",
        packets,
    );
}

#[test]
fn packets_from_the_wrong_side_are_named_at_once() {
    let mut world = World::new();
    let map = world.window(|s| filtered(s, 10));
    assert_eq!(root(&map), "reverse_path_filtered");
    let found = finding(&map, "reverse_path_filtered");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Critical)
    );
    assert!(
        (found.impact.share_ratio - 1.0).abs() < 1e-9,
        "nothing else was received"
    );
    assert_eq!(world.until_calm(|_| {}), 5);
}

#[test]
fn a_forged_sender_now_and_then_is_the_weather() {
    let mut world = World::new();
    assert_eq!(open(&world.window(|s| filtered(s, 2))), [""; 0]);
    world.windows(2, |_| {});
    let busy = |s: &mut Snapshot| {
        traffic(s, CLIENT, 50_000);
        filtered(s, 20);
    };
    assert_eq!(open(&world.windows(5, busy)), [""; 0]);
}

const EXHAUSTED: u32 = 40;

/// So many packets to 192.0.2.9 end here; the examples came in by an interface, one on each of these ports.
fn ended(snapshot: &mut Snapshot, ifindex: u32, packets: u64, ports: [u16; 4]) {
    snapshot
        .kernel
        .reasons
        .insert((EXHAUSTED, 0), ("IP_INHDR".into(), "ip_forward".into()));
    drop_packets(snapshot, CLIENT, "IP_INHDR", "ip_forward", packets);
    mib(snapshot, CLIENT, Mib::IpInHdrErrors, packets);
    mib(snapshot, CLIENT, Mib::IpForwDatagrams, 10_000);
    for port in ports {
        let (from, to) = ((near(7), 5000), (far(9), port));
        let mut seen = sample(CLIENT, Kind::Drop, EXHAUSTED, from, to);
        seen.key.ifindex = ifindex;
        snapshot.samples.push(seen);
    }
}

const ONE_FLOW: [u16; 4] = [9; 4];
const FOUR_FLOWS: [u16; 4] = [9, 10, 11, 12];
const ECHO: [u16; 4] = [0; 4];

#[test]
fn packets_that_leave_where_they_came_in_go_round() {
    let mut world = World::new();
    world.window(|s| state(s, CLIENT).routes[1].gateway = Some(near(254)));
    let map = world.window(|s| ended(s, ETH0, 10, ONE_FLOW));
    assert_eq!(root(&map), "routing_loop");
    let found = finding(&map, "routing_loop");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Critical)
    );
    assert_eq!(found.scope.remote, Some(far(9)));
    assert!(
        found.summary.contains("with 10.0.0.254"),
        "{}",
        found.summary
    );
}

#[test]
fn many_short_flows_may_go_round_as_well() {
    let mut world = World::new();
    let map = world.window(|s| ended(s, ETH0, 40, FOUR_FLOWS));
    assert_eq!(root(&map), "routing_loop");
    // Three routers in a ring: nothing leaves where it came in.
    let mut world = World::new();
    let map = world.windows(3, |s| ended(s, ETH0 + 1, 40, FOUR_FLOWS));
    let found = finding(&map, "routing_loop");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Possible, Severity::Warn)
    );
}

#[test]
fn a_traced_route_is_no_loop() {
    // Through a router with one interface it leaves where it came in.
    for ifindex in [ETH0, ETH0 + 1] {
        let mut world = World::new();
        let map = world.windows(5, |s| ended(s, ifindex, 9, FOUR_FLOWS));
        assert_eq!(open(&map), [""; 0]);
        let map = world.windows(5, |s| ended(s, ifindex, 50, ECHO));
        assert_eq!(open(&map), [""; 0]);
    }
}

fn malformed(snapshot: &mut Snapshot, packets: u64) {
    mib(snapshot, CLIENT, Mib::IpInHdrErrors, packets);
    mib(snapshot, CLIENT, Mib::IpInReceives, packets);
    drop_packets(snapshot, CLIENT, "IP_CSUM", "ip_rcv_core", packets);
}

#[test]
fn damaged_headers_are_named() {
    let mut world = World::new();
    assert_eq!(open(&world.window(|s| malformed(s, 20))), [""; 0]);
    let map = world.window(|s| malformed(s, 20));
    assert_eq!(root(&map), "ip_header_errors");
    let found = finding(&map, "ip_header_errors");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Warn)
    );
    assert!(
        found.summary.contains("20 packets") && found.summary.contains("100 %"),
        "{}",
        found.summary
    );
    assert_eq!(world.until_calm(|_| {}), 5);
}

#[test]
fn impossible_senders_are_named() {
    let mut world = World::new();
    let map = world.windows(2, |s| {
        traffic(s, CLIENT, 1000);
        drop_packets(s, CLIENT, "IP_INVALID_SOURCE", "ip_rcv_finish_core", 20);
    });
    let found = finding(&map, "ip_header_errors");
    assert!(found.summary.contains("impossible"), "{}", found.summary);
}

#[test]
fn few_damaged_headers_are_the_weather() {
    let mut world = World::new();
    let busy = |s: &mut Snapshot| {
        mib(s, CLIENT, Mib::IpInReceives, 1_000_000);
        malformed(s, 50);
    };
    assert_eq!(open(&world.windows(5, busy)), [""; 0], "a small share");
    assert_eq!(
        open(&world.windows(5, |s| malformed(s, 10))),
        [""; 0],
        "a small number"
    );
}

#[test]
fn packets_without_a_hop_are_no_damaged_headers() {
    let mut world = World::new();
    // The counter is read when the drops are not yet.
    let ahead = |s: &mut Snapshot| {
        ended(s, ETH0 + 1, 2000, ECHO);
        mib(s, CLIENT, Mib::IpInHdrErrors, 20);
    };
    let map = world.windows(5, ahead);
    assert!(!open(&map).contains(&"ip_header_errors"), "{map:?}");
}

/// Without reasons the counter decides, whichever of counter and drops is read first at the end of a window.
#[test]
fn no_damaged_header_is_lost_between_windows() {
    let counters: fn(&mut Snapshot) = |s| mib(s, CLIENT, Mib::IpInHdrErrors, 20);
    let drops: fn(&mut Snapshot) = |s| drop_packets(s, CLIENT, "NOT_SPECIFIED", "ip_rcv_core", 20);
    for counters_first in [true, false] {
        let mut world = World::new();
        world.now.kernel.nameless = true;
        world.window(|s| mib(s, CLIENT, Mib::IpInHdrErrors, 0));
        let maps = [counters_first, !counters_first].map(|counted| {
            let moved = if counted { counters } else { drops };
            world.window(moved)
        });
        let counted = maps.iter().map(|map| {
            let rows = map.layers.iter().filter(|row| row.layer == "L3");
            let rows = rows.flat_map(|row| &row.counters);
            let rows = rows.filter(|row| row.id == "ip_malformed");
            rows.map(|row| row.delta).sum::<u64>()
        });
        assert_eq!(counted.sum::<u64>(), 20, "{counters_first}");
    }
}

fn fragmented(snapshot: &mut Snapshot, whole: u64, failed: u64) {
    mib(snapshot, CLIENT, Mib::IpReasmOks, whole);
    mib(snapshot, CLIENT, Mib::IpReasmFails, failed);
    mib(snapshot, CLIENT, Mib::IpReasmTimeout, failed);
}

#[test]
fn datagrams_that_do_not_become_whole_are_named() {
    let mut world = World::new();
    let map = world.windows(2, |s| fragmented(s, 100, 20));
    assert_eq!(root(&map), "reassembly_failed");
    let summary = &finding(&map, "reassembly_failed").summary;
    assert!(summary.starts_with("20 datagrams"), "{summary}");
    assert_eq!(world.until_calm(|s| fragmented(s, 100, 0)), 5);
}

#[test]
fn a_lost_fragment_now_and_then_is_no_fault() {
    let mut world = World::new();
    assert_eq!(open(&world.windows(5, |s| fragmented(s, 0, 3))), [""; 0]);
    assert_eq!(
        open(&world.windows(5, |s| fragmented(s, 10_000, 20))),
        [""; 0]
    );
}

#[test]
fn a_full_memory_for_fragments_is_named_before_any_is_lost() {
    let mut world = World::new();
    let map = world.windows(2, |s| {
        state(s, CLIENT).fragments = Some(Gauge {
            used: 96,
            limit: 100,
        });
    });
    assert_eq!(root(&map), "reassembly_failed");
    let advice = &map.verdict.advice[0];
    assert!(advice.change.contains("ipfrag_high_thresh"), "{advice:?}");
}
