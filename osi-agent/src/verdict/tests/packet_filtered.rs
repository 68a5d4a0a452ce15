//! Filters: those that somebody suffers from, and those that do what they are there for.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use osi_common::occurrence::{Kind, Sample};

use super::builder::{
    CLIENT, ETH0, World, drop_packets, far, finding, link, listener, mib, near, open, peer, root,
    sample, state, traffic,
};
use crate::snapshot::{Mib, Route, Snapshot};
use crate::verdict::{Confidence, Severity};

pub(super) type End = (IpAddr, u16);

const NETFILTER: u32 = 8;
const UDP: u16 = 17;

/// Packets from – to, the kind of their socket: 0, or the interface that they came in by.
pub(super) fn packet(ifindex: u32, protocol: u16, from: End, to: End) -> Sample {
    let mut sample = sample(CLIENT, Kind::Drop, NETFILTER, from, to);
    (sample.key.ifindex, sample.protocol) = (ifindex, protocol);
    sample
}

pub(super) fn filtered(s: &mut Snapshot, packets: u64, samples: impl IntoIterator<Item = Sample>) {
    s.kernel.reasons.insert(
        (NETFILTER, 0),
        ("NETFILTER_DROP".into(), "nft_do_chain".into()),
    );
    drop_packets(s, CLIENT, "NETFILTER_DROP", "nft_do_chain", packets);
    s.samples.extend(samples);
}

pub(super) fn any() -> IpAddr {
    IpAddr::V4(Ipv4Addr::UNSPECIFIED)
}

fn v6(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd91, 0, 0, 0, 0, 0, 0, last))
}

#[test]
fn a_filter_on_our_own_connection_is_named_from_the_first_packet() {
    // On the way out, and the answer on the way in.
    let (us, them) = ((near(1), 40_000), (far(7), 443));
    for dropped in [packet(0, 6, us, them), packet(ETH0, 6, them, us)] {
        let mut world = World::new();
        let map = world.window(|s| {
            traffic(s, CLIENT, 100_000);
            let outcome = peer(s, CLIENT, far(7), 443);
            outcome.attempts += 1;
            outcome.syn_retransmits += u64::from(dropped.key.ifindex != 0);
            filtered(s, 1, [dropped]);
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
}

/// A late packet of the old connection is dropped while the new one is on its way.
#[test]
fn a_connect_at_the_border_of_a_window_proves_nothing() {
    let late = packet(ETH0, 6, (far(7), 5432), (near(1), 39_999));
    let mut world = World::new();
    let map = world.window(|s| {
        peer(s, CLIENT, far(7), 5432).attempts += 1;
        filtered(s, 1, [late]);
    });
    assert_eq!(open(&map), [""; 0]);
    let map = world.windows(10, |s| peer(s, CLIENT, far(7), 5432).connected += 1);
    assert_eq!(open(&map), [""; 0]);
    // Where it goes on and no SYN was counted as sent again, it is likely.
    let mut world = World::new();
    let map = world.windows(2, |s| {
        peer(s, CLIENT, far(7), 5432).attempts += 1;
        filtered(s, 1, [late]);
    });
    let found = finding(&map, "packet_filtered");
    assert_eq!(found.confidence, Confidence::Likely);
}

#[test]
fn a_connect_that_others_overtake_is_no_victim() {
    let mut world = World::new();
    let map = world.windows(5, |s| {
        let outcome = peer(s, CLIENT, far(7), 443);
        outcome.attempts += 11;
        outcome.connected += 10;
        filtered(s, 2, [packet(ETH0, 6, (far(7), 443), (near(1), 40_000))]);
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn a_filtered_service_is_named() {
    for (clients, server, bound) in [
        ([near(2), near(3)], near(1), any()),
        ([v6(1), v6(3)], v6(2), IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        (
            [near(2), near(3)],
            near(1),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ),
        ([near(2), near(3)], near(1), near(1)),
    ] {
        let mut world = World::new();
        let syns = |s: &mut Snapshot| {
            state(s, CLIENT).listeners.rows = vec![listener(bound, 7, 0, 128)];
            filtered(s, 10, knocks(&clients, 4, (server, 7)));
        };
        let map = world.window(syns);
        assert_eq!(root(&map), "packet_filtered");
        assert_eq!(map.layers[4].drops, 10);
        let found = finding(&map, "packet_filtered");
        assert_eq!(
            (found.confidence, found.severity),
            (Confidence::Certain, Severity::Critical)
        );
        assert_eq!(world.until_calm(|_| {}), 5);
    }
}

/// So many packets of each client to a server, from a port of their own each.
pub(super) fn knocks(clients: &[IpAddr], each: u16, server: End) -> Vec<Sample> {
    let of = |client: &IpAddr| {
        let client = *client;
        (0..each).map(move |n| packet(ETH0, 6, (client, 40_000 + n), server))
    };
    clients.iter().flat_map(of).collect()
}

#[test]
fn a_client_is_remembered_over_the_border_of_a_window() {
    let mut world = World::new();
    let syns = |count: u16| {
        move |s: &mut Snapshot| {
            state(s, CLIENT).listeners.rows = vec![listener(any(), 7, 0, 128)];
            let samples = knocks(&[near(2), near(3)], count, (near(1), 7));
            filtered(s, u64::from(count), samples);
        }
    };
    assert_eq!(open(&world.window(syns(2))), [""; 0]);
    assert_eq!(open(&world.window(syns(2))), ["packet_filtered"]);
}

#[test]
fn a_client_among_many_that_get_through_is_a_warning() {
    for (accepted, expected) in [(100, Some(Severity::Warn)), (10_000, None)] {
        let mut world = World::new();
        let map = world.windows(5, |s| {
            state(s, CLIENT).listeners.rows = vec![listener(any(), 80, 0, 128)];
            mib(s, CLIENT, Mib::TcpPassiveOpens, accepted);
            let samples = (0..4).map(|n| packet(ETH0, 6, (far(9), 40_000 + n), (near(1), 80)));
            filtered(s, 5, samples);
        });
        assert_eq!(map.open.first().map(|found| found.severity), expected);
    }
}

#[test]
fn the_background_of_a_network_is_no_fault() {
    let groups = [
        (near(255), 137),
        (IpAddr::V4(Ipv4Addr::BROADCAST), 67),
        (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 5353),
        (
            IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
            5353,
        ),
        (near(1), 1900),
    ];
    for forwards in [0, 1000] {
        let mut world = World::new();
        let map = world.windows(10, |s| {
            mib(s, CLIENT, Mib::IpForwDatagrams, forwards);
            state(s, CLIENT).listeners.rows = vec![listener(any(), 5353, 0, 128)];
            let samples = groups.map(|to| {
                let from = if to.0.is_ipv4() { near(9) } else { v6(9) };
                packet(ETH0, UDP, (from, to.1), to)
            });
            filtered(s, 10, samples);
        });
        assert_eq!(open(&map), [""; 0]);
    }
}

#[test]
fn a_scan_of_a_port_that_nobody_listens_on_is_no_fault() {
    for forwards in [0, 1000] {
        let mut world = World::new();
        let map = world.windows(10, |s| {
            mib(s, CLIENT, Mib::IpForwDatagrams, forwards);
            state(s, CLIENT).listeners.rows = vec![
                listener(any(), 22, 0, 128),
                listener(IpAddr::V4(Ipv4Addr::LOCALHOST), 23, 0, 128),
            ];
            let samples = (0..7).map(|n| packet(ETH0, 6, (near(66), 50_000 + n), (near(1), 23)));
            filtered(s, 7, samples);
        });
        assert_eq!(open(&map), [""; 0]);
    }
}

#[test]
fn the_internet_knocking_at_an_allow_listed_port_is_no_fault() {
    for accepted in [0, 3] {
        let mut world = World::new();
        for second in 0..10_u8 {
            let map = world.window(|s| {
                state(s, CLIENT).listeners.rows = vec![listener(any(), 22, 0, 128)];
                mib(s, CLIENT, Mib::TcpPassiveOpens, accepted);
                let samples = (0..6).map(|n| {
                    let source = (far(second * 6 + n), 50_000);
                    packet(ETH0, 6, source, (near(1), 22))
                });
                filtered(s, 6, samples);
            });
            assert_eq!(open(&map), [""; 0]);
        }
    }
}

/// A router between eth0 and eth1, 198.51.100.0/24; both sides and the router itself speak ssh.
fn router() -> World {
    let mut world = World::new();
    world.window(|s| {
        let state = state(s, CLIENT);
        state.listeners.rows = vec![listener(any(), 22, 0, 128)];
        state.links.push(link(3, "eth1"));
        state.routes.push(Route {
            destination: Some(behind(0)),
            prefix: 24,
            ifindex: Some(3),
            gateway: None,
            v6: false,
            advertised: false,
        });
        mib(s, CLIENT, Mib::IpForwDatagrams, 1000);
    });
    world
}

fn behind(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))
}

#[test]
fn what_a_router_drops_in_passing_is_at_most_a_possible_warning() {
    let passing = |received: u64| {
        move |s: &mut Snapshot| {
            mib(s, CLIENT, Mib::IpInReceives, received);
            let samples = (0..4).map(|n| packet(ETH0, 6, (near(2), 40_000 + n), (behind(5), 22)));
            filtered(s, 20, samples);
        }
    };
    let mut world = router();
    assert_eq!(open(&world.windows(2, passing(100))), [""; 0]);
    let map = world.window(passing(100));
    let found = finding(&map, "packet_filtered");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Possible, Severity::Warn)
    );
    assert!(
        found.summary.contains("on their way through"),
        "{}",
        found.summary
    );
    let later = world.windows(10, passing(100));
    assert_eq!(finding(&later, "packet_filtered").severity, Severity::Warn);
    assert_eq!(open(&router().windows(10, passing(1000))), [""; 0]);
}

#[test]
fn a_service_of_a_router_is_its_own() {
    let mut world = router();
    let map = world.window(|s| {
        filtered(s, 10, knocks(&[near(2), near(3)], 4, (near(1), 22)));
    });
    assert_eq!(
        finding(&map, "packet_filtered").severity,
        Severity::Critical
    );
}

/// A packet that came in by eth0 and that the kernel had found to be of an established connection.
pub(super) fn of_connection(from: End, to: End) -> Sample {
    Sample {
        established: 1,
        ..packet(ETH0, 6, from, to)
    }
}

#[test]
fn connections_that_were_there_suffer_too() {
    let (us, them) = ((near(1), 40_000), (far(7), 5432));
    // On the way out, and on the way in.
    for dropped in [packet(0, 6, us, them), of_connection(them, us)] {
        let stalled = |again: u64| {
            move |s: &mut Snapshot| {
                mib(s, CLIENT, Mib::TcpOutSegs, 4);
                mib(s, CLIENT, Mib::TcpRetransSegs, again);
                filtered(s, 2, [dropped]);
            }
        };
        let map = World::new().windows(2, stalled(2));
        let found = finding(&map, "packet_filtered");
        assert_eq!(
            (found.confidence, found.severity),
            (Confidence::Likely, Severity::Critical)
        );
        assert_eq!(open(&World::new().windows(5, stalled(0))), [""; 0]);
    }
    // What came in without a connection is nobody's.
    let map = World::new().windows(5, |s| {
        mib(s, CLIENT, Mib::TcpOutSegs, 4);
        mib(s, CLIENT, Mib::TcpRetransSegs, 2);
        filtered(s, 2, [packet(ETH0, 6, them, us)]);
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn strays_of_a_busy_host_are_no_fault() {
    let mut world = World::new();
    let map = world.windows(10, |s| {
        traffic(s, CLIENT, 100_000);
        mib(s, CLIENT, Mib::TcpRetransSegs, 100);
        filtered(s, 50, [of_connection((far(7), 443), (near(1), 40_000))]);
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
