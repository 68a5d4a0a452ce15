//! What IPsec refuses and what tunnels lose.

use std::collections::BTreeSet;

use super::builder::{CLIENT, World, finding, link, mib, open, root, state, traffic};
use crate::layer::l3_network::xfrm::COUNTERS;
use crate::snapshot::{Mib, Snapshot};
use crate::verdict::Severity;

fn refused(s: &mut Snapshot, counter: Mib, packets: u64, of: u64) {
    traffic(s, CLIENT, of);
    mib(s, CLIENT, counter, packets);
}

#[test]
fn every_counter_of_ipsec_is_named_and_explained() {
    for counter in COUNTERS {
        let mut world = World::new();
        let map = world.windows(2, |s| refused(s, counter.mib, 50, 1000));
        assert_eq!(root(&map), "tunnel_or_ipsec_drops", "{:?}", counter.mib);
        let found = finding(&map, "tunnel_or_ipsec_drops");
        assert_eq!(found.severity, Severity::Warn);
        let summary = &found.summary;
        assert!(
            summary.contains("50 packets") && summary.contains(counter.mib.key()),
            "{summary}"
        );
        assert!(map.verdict.advice[0].text.contains(counter.advice));
    }
}

#[test]
fn the_table_has_every_counter_that_is_read_once() {
    let table = Mib::TABLE.iter();
    let read: BTreeSet<_> = table
        .filter(|row| row.1 == "xfrm_stat")
        .map(|row| row.0)
        .collect();
    let known: BTreeSet<_> = COUNTERS.iter().map(|counter| counter.mib).collect();
    assert_eq!(read, known);
    assert_eq!(known.len(), COUNTERS.len());
}

#[test]
fn the_counter_with_most_packets_speaks() {
    let mut world = World::new();
    let map = world.windows(2, |s| {
        refused(s, Mib::XfrmInStateSeqError, 5, 1000);
        mib(s, CLIENT, Mib::XfrmInStateProtoError, 40);
    });
    let found = finding(&map, "tunnel_or_ipsec_drops");
    let signals: Vec<_> = found
        .evidence
        .iter()
        .map(|row| row.signal.as_str())
        .collect();
    assert_eq!(signals, ["XfrmInStateProtoError", "XfrmInStateSeqError"]);
    assert!(map.verdict.advice[0].text.contains("keys and algorithms"));
}

#[test]
fn a_change_of_keys_and_strangers_are_well() {
    let mut world = World::new();
    let rekey = |s: &mut Snapshot| refused(s, Mib::XfrmInStateInvalid, 8, 100);
    assert_eq!(open(&world.windows(5, rekey)), [""; 0], "few packets");
    let strangers = |s: &mut Snapshot| refused(s, Mib::XfrmInNoStates, 50, 100_000);
    assert_eq!(open(&world.windows(5, strangers)), [""; 0], "a small share");
    let once = world.window(|s| refused(s, Mib::XfrmOutNoStates, 500, 1000));
    assert_eq!(open(&once), [""; 0], "a single window");
}

#[test]
fn a_kernel_that_does_not_count_is_well_and_not_blind() {
    let mut world = World::new();
    let map = world.windows(3, |s| {
        let mibs = &mut state(s, CLIENT).mibs;
        let without = Mib::TABLE.iter().filter(|row| row.1 != "xfrm_stat");
        let kept: Vec<_> = without
            .filter_map(|row| Some((row.0, mibs.get(row.0)?)))
            .collect();
        *mibs = crate::snapshot::Mibs::default();
        for (counter, value) in kept {
            mibs.set(counter, value);
        }
    });
    assert_eq!(open(&map), [""; 0]);
    assert_eq!(map.verdict.cannot_rule_out, [""; 0]);
}

/// A second link of this kind carries packets and loses some on the way out.
fn carried(s: &mut Snapshot, kind: &str, packets: u64, lost: u64) {
    let links = &mut state(s, CLIENT).links.rows;
    if links.len() == 1 {
        let mut tunnel = link(3, "tun0");
        tunnel.kind = Some(kind.to_owned());
        tunnel.speed_bits_per_s = None;
        links.push(tunnel);
    }
    links[1].stats.tx_packets += packets;
    links[1].stats.tx_errors += lost;
}

#[test]
fn a_tunnel_that_loses_packets_is_named() {
    for kind in ["vxlan", "wireguard", "gre", "xfrm"] {
        let mut world = World::new();
        world.window(|s| carried(s, kind, 0, 0));
        let map = world.windows(2, |s| carried(s, kind, 1000, 30));
        assert_eq!(open(&map), ["tunnel_or_ipsec_drops"], "{kind}");
        let found = finding(&map, "tunnel_or_ipsec_drops");
        let iface = found.scope.iface.as_ref().map(|iface| iface.ifindex);
        assert_eq!(iface, Some(3));
        assert!(found.summary.contains(kind), "{}", found.summary);
        // It is no damaged frame of L1.
        assert_eq!(map.layers[6].errors, 0);
        assert_eq!(world.until_calm(|s| carried(s, kind, 1000, 0)), 5);
    }
}

/// A peer that does not answer, or no far end: the drivers of these two count drops and no errors.
#[test]
fn what_has_nowhere_to_go_is_lost() {
    let dropping = |kind: &'static str, master: Option<u32>| {
        let mut world = World::new();
        world.window(|s| {
            carried(s, kind, 0, 0);
            state(s, CLIENT).links.rows[1].master = master;
        });
        world.windows(2, |s| {
            carried(s, kind, 100, 0);
            state(s, CLIENT).links.rows[1].stats.tx_dropped += 30;
        })
    };
    for kind in ["wireguard", "vxlan"] {
        let map = dropping(kind, None);
        assert_eq!(open(&map), ["tunnel_or_ipsec_drops"], "{kind}");
        let found = finding(&map, "tunnel_or_ipsec_drops");
        assert!(found.summary.contains("lost 30"), "{}", found.summary);
    }
    assert_eq!(open(&dropping("vxlan", Some(9))), [""; 0], "flooded");
    for kind in ["geneve", "gre"] {
        assert_eq!(open(&dropping(kind, None)), [""; 0], "{kind}");
    }
}

#[test]
fn few_errors_and_those_of_other_links_are_well() {
    let mut world = World::new();
    world.window(|s| carried(s, "vxlan", 0, 0));
    let few = |s: &mut Snapshot| carried(s, "vxlan", 100, 10);
    assert_eq!(open(&world.windows(5, few)), [""; 0]);
    let share = |s: &mut Snapshot| carried(s, "vxlan", 100_000, 50);
    assert_eq!(open(&world.windows(5, share)), [""; 0]);
    let mut world = World::new();
    world.window(|s| carried(s, "veth", 0, 0));
    let other = |s: &mut Snapshot| carried(s, "veth", 1000, 30);
    assert_eq!(open(&world.windows(5, other)), [""; 0]);
}
