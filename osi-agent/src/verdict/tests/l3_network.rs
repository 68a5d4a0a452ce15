//! Routes.

use core::net::{IpAddr, Ipv6Addr};

use super::builder::{CLIENT, World, finding, mib, open, root, state, traffic};
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
