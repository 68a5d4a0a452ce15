//! Controls: nothing may open.

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, World, drop_packets, far, mib, near, occur, open, peer, pool, sample, state, traffic,
};
use crate::snapshot::{Blind, Mib, Snapshot};
use crate::verdict::VerdictState;

#[test]
fn an_idle_host_is_well() {
    let mut world = World::new();
    let map = world.windows(30, |_| {});
    assert_eq!(open(&map), [""; 0]);
    assert_eq!(map.verdict.state, VerdictState::Ok);
    assert_eq!(map.verdict.cannot_rule_out, [""; 0]);
    let json = serde_json::to_value(&map.verdict).expect("json");
    assert!(json["layer"].is_null() && json["cause"].is_null() && json["finding_id"].is_null());
    assert_eq!(map.verdict.summary, "No layer is broken.");
}

#[test]
fn what_is_partly_blind_is_said_with_the_reason() {
    let mut world = World::new();
    let map = world.window(|s| {
        s.blind = [Layer::L1, Layer::L2, Layer::L3, Layer::L4, Layer::L5]
            .map(|layer| Blind {
                layer,
                what: "namespaces: web".to_owned(),
                why: "cannot enter it".to_owned(),
            })
            .to_vec();
        s.blind.push(Blind {
            layer: Layer::L2,
            what: "qdiscs".to_owned(),
            why: "timed out".to_owned(),
        });
    });
    assert_eq!(map.verdict.state, VerdictState::Ok);
    assert_eq!(
        map.verdict.summary,
        "No fault found in what can be seen; visible only in part: L1, L2, L3, L4, L5 (namespaces: web: cannot enter it, and another reason)."
    );
    assert_eq!(map.verdict.cannot_rule_out, ["L1", "L2", "L3", "L4", "L5"]);
}

#[test]
fn a_bulk_transfer_over_an_unshaped_veth_is_well() {
    let mut world = World::new();
    let map = world.windows(30, |s| {
        state(s, CLIENT).links[0].speed_bits_per_s = None;
        traffic(s, CLIENT, 900_000);
        mib(s, CLIENT, Mib::TcpRetransSegs, 6_300);
        occur(s, CLIENT, Kind::Retransmit, 2, 3_000);
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn a_thousand_connections_a_second_are_well() {
    let mut world = World::new();
    let map = world.windows(30, |s| {
        let good = peer(s, CLIENT, far(7), 80);
        good.attempts += 1000;
        good.connected += 1000;
        traffic(s, CLIENT, 10_000);
        drop_packets(s, CLIENT, "QUEUE_PURGE", "tcp_v4_destroy_sock", 1000);
        state(s, CLIENT).pools = vec![pool(far(7), 80, 300, 300)];
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn the_restart_of_a_server_is_well() {
    let mut world = World::new();
    let load = |connected: u64, refused: u64| {
        move |s: &mut Snapshot| {
            let outcome = peer(s, CLIENT, far(7), 80);
            outcome.attempts += connected + refused;
            outcome.connected += connected;
            outcome.refused += refused;
        }
    };
    world.windows(5, load(1000, 0));
    // The gap lies across two windows.
    assert_eq!(open(&world.window(load(700, 300))), [""; 0]);
    assert_eq!(open(&world.window(load(600, 400))), [""; 0]);
    assert_eq!(open(&world.windows(5, load(1000, 0))), [""; 0]);
}

#[test]
fn a_port_scan_by_this_host_is_well() {
    let mut world = World::new();
    let mut first = 0;
    for _ in 0..5 {
        let map = world.window(|s| {
            for port in first..first + 200 {
                let outcome = peer(s, CLIENT, far(7), port);
                outcome.attempts += 1;
                outcome.refused += 1;
            }
        });
        first += 200;
        assert_eq!(open(&map), [""; 0]);
    }
}

#[test]
fn a_port_scan_of_this_host_is_well() {
    let mut world = World::new();
    let map = world.windows(5, |s| {
        occur(s, CLIENT, Kind::ResetSent, 0, 1000);
        mib(s, CLIENT, Mib::TcpOutRsts, 1000);
        s.samples.push(sample(
            CLIENT,
            Kind::ResetSent,
            0,
            (near(1), 99),
            (far(7), 40_000),
        ));
    });
    assert_eq!(open(&map), [""; 0]);
    assert_eq!(map.layers[3].errors, 1000);
}

#[test]
fn starting_on_a_busy_host_is_well() {
    let mut world = World::new();
    // A namespace that appears with large counters has no growth yet.
    let mut busy = super::builder::namespace(7, "busy");
    busy.mibs.set(Mib::IpOutNoRoutes, 1_000_000);
    busy.mibs.set(Mib::ListenOverflows, 1_000_000);
    busy.links[0].stats.rx_bytes = u64::MAX / 2;
    busy.links[0].carrier = false;
    busy.qdiscs[0].drops = 1_000_000;
    assert_eq!(
        open(&world.window(|s| s.namespaces.push(busy.clone()))),
        [""; 0]
    );
    assert_eq!(open(&world.windows(5, |_| {})), [""; 0]);
}
