//! The root is named, the rest are symptoms.

use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, SERVER, World, drop_packets, far, finding, listener, mib, namespace, near, neighbour,
    occur, open, peer, root, sample, state, traffic,
};
use crate::snapshot::{Gauge, Mib, Snapshot};

fn saturated(s: &mut Snapshot) {
    traffic(s, CLIENT, 121_000);
}

fn queue_drops(s: &mut Snapshot) {
    state(s, CLIENT).qdiscs[0].drops += 5_000;
}

fn retransmits(s: &mut Snapshot) {
    mib(s, CLIENT, Mib::TcpRetransSegs, 5_000);
}

fn silence(s: &mut Snapshot) {
    let victim = peer(s, CLIENT, far(7), 80);
    victim.attempts += 5;
    victim.syn_retransmits += 5;
}

#[test]
fn a_full_link_explains_its_queue_and_the_loss() {
    let mut world = World::new();
    let map = world.windows(3, |s| {
        saturated(s);
        queue_drops(s);
        retransmits(s);
    });
    assert_eq!(
        open(&map),
        ["egress_queue_overflow", "link_saturated", "packet_loss"]
    );
    assert_eq!(root(&map), "link_saturated");
    assert_eq!(map.verdict.other_roots.len(), 0);
    let symptoms: Vec<_> = map
        .verdict
        .symptoms
        .iter()
        .map(|symptom| symptom.cause.as_str())
        .collect();
    assert_eq!(symptoms, ["packet_loss", "egress_queue_overflow"]);
    let queue = finding(&map, "egress_queue_overflow");
    assert_eq!(finding(&map, "packet_loss").explained_by.len(), 2);
    assert_eq!(
        queue.explained_by,
        [finding(&map, "link_saturated").id.clone()]
    );
    let states: Vec<_> = map
        .layers
        .iter()
        .map(|layer| serde_json::to_value(layer.state).expect("json"))
        .collect();
    assert_eq!(states, ["ok", "ok", "ok", "warn", "ok", "warn", "warn"]);
}

#[test]
fn the_symptom_may_open_first() {
    let mut world = World::new();
    let map = world.windows(3, |s| {
        traffic(s, CLIENT, 100_000);
        retransmits(s);
    });
    assert_eq!(root(&map), "packet_loss");
    let id = finding(&map, "packet_loss").id.clone();
    let map = world.windows(3, |s| {
        saturated(s);
        retransmits(s);
    });
    assert_eq!(root(&map), "link_saturated");
    assert_eq!(finding(&map, "packet_loss").id, id);
    assert_eq!(map.verdict.symptoms.len(), 1);
}

#[test]
fn the_tail_of_an_incident_blames_no_symptom() {
    let mut world = World::new();
    world.windows(3, |s| {
        saturated(s);
        queue_drops(s);
    });
    // The link is free again, and its queue goes on dropping for a while.
    for window in 1..=14 {
        let map = world.window(|s| {
            traffic(s, CLIENT, 100_000);
            queue_drops(s);
        });
        // Five clear windows close it, and it explains for five more.
        let expected = if window < 10 {
            "link_saturated"
        } else {
            "egress_queue_overflow"
        };
        assert_eq!(root(&map), expected, "window {window}");
    }
}

#[test]
fn a_link_that_is_down_explains_neighbours_and_handshakes() {
    let mut world = World::new();
    let map = world.windows(3, |s| {
        state(s, CLIENT).links[0].carrier = false;
        state(s, CLIENT).neighbours.unresolved = vec![neighbour(near(254), true, 500)];
        silence(s);
    });
    assert_eq!(
        open(&map),
        ["handshake_timeout", "link_down", "neighbor_unreachable"]
    );
    assert_eq!(root(&map), "link_down");
    assert_eq!(map.verdict.symptoms.len(), 2);
    assert_eq!(map.verdict.other_roots.len(), 0);
}

#[test]
fn a_link_explains_only_what_is_reached_over_it() {
    let mut world = World::new();
    world.window(|s| {
        let state = state(s, CLIENT);
        state.links.push(super::builder::link(3, "eth1"));
        state.routes.push(crate::snapshot::Route {
            destination: Some(far(0)),
            prefix: 24,
            ifindex: Some(3),
            gateway: None,
            v6: false,
            advertised: false,
        });
    });
    let map = world.windows(3, |s| {
        state(s, CLIENT).links[0].carrier = false;
        silence(s);
    });
    assert!(
        finding(&map, "handshake_timeout").explained_by.is_empty(),
        "192.0.2.0/24 is behind eth1"
    );
    assert_eq!(map.verdict.other_roots.len(), 1);
}

#[test]
fn no_route_after_a_lost_link_is_a_symptom() {
    let mut world = World::new();
    let map = world.window(|s| {
        state(s, CLIENT).links[0].admin_up = false;
        state(s, CLIENT).routes.clear();
        mib(s, CLIENT, Mib::IpOutNoRoutes, 10);
    });
    assert_eq!((root(&map), map.verdict.symptoms.len()), ("link_down", 1));
}

#[test]
fn an_overflowing_listener_explains_hanging_clients_of_the_same_host() {
    let mut world = World::new();
    world.window(|s| {
        let mut server = namespace(SERVER, "server");
        server.addresses[0].address = near(2);
        s.namespaces.push(server);
    });
    let any = core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);
    let map = world.windows(3, |s| {
        state(s, SERVER).listeners.rows = vec![listener(any, 80, 2, 1)];
        mib(s, SERVER, Mib::ListenOverflows, 5);
        for address in [near(2), near(3), far(7)] {
            let victim = peer(s, CLIENT, address, 80);
            victim.attempts += 5;
            victim.syn_retransmits += 5;
        }
    });
    assert_eq!(
        map.verdict.other_roots.len(),
        2,
        "192.0.2.7 is another host, and so is 10.0.0.3"
    );
    for found in map
        .open
        .iter()
        .filter(|found| found.cause == "handshake_timeout")
    {
        assert_eq!(
            found.explained_by.is_empty(),
            found.scope.remote != Some(near(2)),
            "{:?}",
            found.scope.remote
        );
    }
}

#[test]
fn the_hosts_card_explains_loss_in_its_containers() {
    let mut world = World::new();
    world.window(|s| {
        let mut container = namespace(SERVER, "container");
        (container.links[0].kind, container.links[0].speed_bits_per_s) =
            (Some("veth".to_owned()), None);
        s.namespaces.push(container);
    });
    let map = world.windows(3, |s| {
        saturated(s);
        traffic(s, SERVER, 10_000);
        mib(s, SERVER, Mib::TcpRetransSegs, 500);
    });
    assert_eq!(open(&map), ["link_saturated", "packet_loss"]);
    assert_eq!(
        (root(&map), map.verdict.symptoms.len()),
        ("link_saturated", 1)
    );
}

#[test]
fn independent_roots_are_all_named() {
    let mut world = World::new();
    let map = world.windows(2, |s| {
        saturated(s);
        occur(s, CLIENT, Kind::PortExhausted, 0, 2);
        let refusing = peer(s, CLIENT, near(9), 81);
        refusing.attempts += 9;
        refusing.refused += 9;
    });
    assert_eq!(root(&map), "ephemeral_ports_exhausted");
    assert_eq!(map.verdict.other_roots.len(), 2);
}

#[test]
fn a_full_connection_table_of_a_router_explains_those_whose_packets_it_dropped() {
    let full = |s: &mut Snapshot, dropped| {
        state(s, CLIENT).conntrack = Some(Gauge {
            used: 1000,
            limit: 1000,
        });
        let counts = &mut state(s, CLIENT).conntrack_counts;
        counts.get_or_insert_default().dropped += dropped;
    };
    for (hanging, explained) in [(far(7), true), (far(8), false)] {
        let mut world = World::new();
        world.window(|s| {
            full(s, 0);
            s.namespaces.push(namespace(SERVER, "behind"));
        });
        let map = world.windows(3, |s| {
            full(s, 5);
            drop_packets(s, CLIENT, "NETFILTER_DROP", "nf_hook_slow", 5);
            s.kernel
                .reasons
                .insert((8, 0), ("NETFILTER_DROP".into(), "nf_hook_slow".into()));
            let victim = sample(CLIENT, Kind::Drop, 8, (near(9), 40_000), (far(7), 443));
            s.samples.push(victim);
            let client = peer(s, SERVER, hanging, 443);
            client.attempts += 5;
            client.syn_retransmits += 5;
        });
        assert_eq!(open(&map), ["conntrack_table_full", "handshake_timeout"]);
        let symptom = finding(&map, "handshake_timeout");
        assert_eq!(symptom.explained_by.is_empty(), !explained, "{hanging}");
        if explained {
            assert_eq!(root(&map), "conntrack_table_full");
            assert_eq!(map.verdict.symptoms[0].cause, "handshake_timeout");
            assert_eq!(map.verdict.other_roots.len(), 0);
        }
    }
}
