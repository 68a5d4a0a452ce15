//! Addresses that two hosts have, and addresses that move from one host to another.

use core::net::{IpAddr, Ipv6Addr};

use super::builder::{CLIENT, ETH0, World, far, finding, holder, near, open, peer, root, state};
use crate::scope::{Iface, ScopeKind};
use crate::snapshot::{OwnAddress, Snapshot};
use crate::verdict::{Confidence, Severity};

/// The neighbour answers with this hardware address.
fn held(last: u8, by: u8) -> impl Fn(&mut Snapshot) {
    move |s| state(s, CLIENT).holders.rows = vec![holder(near(last), by)]
}

/// The neighbour answers with each of these hardware addresses for so many windows.
fn answers(world: &mut World, windows: u64, by: &[u8]) {
    for by in by {
        let map = world.windows(windows, held(9, *by));
        assert_eq!(open(&map), [""; 0], "held by {by}");
    }
}

#[test]
fn an_address_that_goes_back_and_forth_is_named() {
    let mut world = World::new();
    answers(&mut world, 3, &[1, 2, 1]);
    let map = world.window(held(9, 2));
    assert_eq!(root(&map), "duplicate_address");
    let found = finding(&map, "duplicate_address");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Likely, Severity::Critical)
    );
    let values: Vec<_> = found.evidence.iter().map(|row| row.value).collect();
    assert_eq!(values, [3.0, 2.0]);
    for word in ["10.0.0.9", "eth0", "02:00:00:00:00:01", "02:00:00:00:00:02"] {
        assert!(found.summary.contains(word), "{}", found.summary);
    }
    assert!(world.windows(20, held(9, 2)).verdict.cause.is_some());
    world.until_calm(held(9, 2));
}

#[test]
fn a_fail_over_and_back_is_well() {
    let mut world = World::new();
    answers(&mut world, 10, &[1, 2, 1]);
    assert_eq!(open(&world.windows(80, held(9, 1))), [""; 0]);
    // The next maintenance, an hour later.
    answers(&mut world, 10, &[2, 1]);
}

#[test]
fn machines_that_take_an_address_one_after_the_other_are_well() {
    let mut world = World::new();
    answers(&mut world, 2, &[1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn slow_changes_are_well() {
    let mut world = World::new();
    answers(&mut world, 50, &[1, 2, 1, 2, 1, 2]);
}

#[test]
fn an_entry_that_is_not_there_for_a_while_moves_nothing() {
    let mut world = World::new();
    for by in [1, 2, 1, 2, 1] {
        world.window(held(9, by));
        let gone = world.window(|s| state(s, CLIENT).holders.rows.clear());
        assert_eq!(open(&gone), [""; 0]);
    }
}

#[test]
fn a_late_reader_tells_each_change_once() {
    let mut world = World::new();
    answers(&mut world, 2, &[1, 2, 1]);
    let late = |s: &mut Snapshot| state(s, CLIENT).holders.read_ns -= 1_000_000_000;
    assert_eq!(open(&world.windows(3, late)), [""; 0]);
    assert_eq!(root(&world.window(held(9, 2))), "duplicate_address");
}

#[test]
fn a_gateway_that_two_hosts_claim_explains_what_lies_behind_it() {
    let mut world = World::new();
    let mut by = 1;
    let mut map = world.window(held(254, by));
    for _ in 0..6 {
        by = 3 - by;
        map = world.window(|s| {
            held(254, by)(s);
            let victim = peer(s, CLIENT, far(7), 80);
            victim.attempts += 5;
            victim.syn_retransmits += 5;
        });
    }
    assert_eq!(root(&map), "duplicate_address");
    let felt = finding(&map, "handshake_timeout");
    assert_eq!(felt.explained_by.len(), 1, "{:?}", felt.scope);
}

fn own() -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9))
}

fn refused(s: &mut Snapshot) {
    let iface = Iface {
        ifindex: ETH0,
        name: "eth0".to_owned(),
    };
    state(s, CLIENT).addresses.rows = vec![OwnAddress {
        address: own(),
        iface,
        refused: true,
    }];
}

#[test]
fn an_own_address_that_somebody_has_is_named_at_once() {
    let mut world = World::new();
    let map = world.window(refused);
    assert_eq!(root(&map), "duplicate_address");
    let found = finding(&map, "duplicate_address");
    assert_eq!(
        (found.scope.kind, found.scope.local, found.confidence),
        (ScopeKind::Iface, Some(own()), Confidence::Certain)
    );
    assert!(found.summary.contains("fd00::9"), "{}", found.summary);
    assert_eq!(
        world.until_calm(|s| state(s, CLIENT).addresses.rows.clear()),
        5
    );
}

#[test]
fn it_explains_nothing_that_has_another_address() {
    let mut world = World::new();
    let map = world.windows(3, |s| {
        refused(s);
        let victim = peer(s, CLIENT, far(7), 80);
        victim.attempts += 5;
        victim.syn_retransmits += 5;
    });
    let felt = finding(&map, "handshake_timeout");
    assert_eq!(felt.explained_by, [""; 0]);
}
