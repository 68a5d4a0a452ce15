//! Connections that stall at their first full-size segment.

use core::net::IpAddr;

use osi_common::occurrence::{Kind, Phase};

use super::builder::{CLIENT, World, far, finding, near, occur, open, peer, root, sample};
use crate::snapshot::Snapshot;
use crate::verdict::{Confidence, Severity};

const SILENT: u32 = 0;
const PASSES_SMALLER: u32 = 1;

/// Full-size segments sent again to a destination, one of each of so many connections, among so many of payload.
fn stall(snapshot: &mut Snapshot, to: IpAddr, code: u32, connections: u16, again: u64) {
    occur(
        snapshot,
        CLIENT,
        Kind::Retransmit,
        Phase::Data as u32,
        again,
    );
    occur(
        snapshot,
        CLIENT,
        Kind::FullSizeUnacked,
        code,
        u64::from(connections),
    );
    for port in 0..connections {
        let (from, to) = ((near(1), 40_000 + port), (to, 443));
        let seen = sample(CLIENT, Kind::FullSizeUnacked, code, from, to);
        snapshot.samples.push(seen);
    }
}

#[test]
fn connections_that_stall_at_their_first_large_segment_are_named() {
    let mut world = World::new();
    let map = world.windows(3, |s| stall(s, far(9), PASSES_SMALLER, 2, 6));
    assert_eq!(root(&map), "mtu_black_hole");
    let found = finding(&map, "mtu_black_hole");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Likely, Severity::Critical)
    );
    assert_eq!(found.scope.remote, Some(far(9)));
    assert_eq!(
        found.summary,
        "Full-size segments to 192.0.2.9 in namespace client vanish: 2 or more connections stall at their first one, and it \
         has acknowledged smaller ones."
    );
    assert!((found.evidence[0].value - 6.0).abs() < 1e-9);
    assert!(world.until_calm(|_| {}) <= 9);
}

#[test]
fn time_outs_lie_apart() {
    let mut world = World::new();
    let mut map = world.window(|s| stall(s, far(9), PASSES_SMALLER, 2, 6));
    for _ in 0..3 {
        world.windows(2, |_| {});
        map = world.window(|s| stall(s, far(9), PASSES_SMALLER, 2, 6));
    }
    assert_eq!(open(&map), ["mtu_black_hole"]);
}

#[test]
fn connects_that_succeed_meanwhile_prove_that_small_packets_pass() {
    let mut world = World::new();
    let silent = |s: &mut Snapshot| stall(s, far(9), SILENT, 2, 6);
    assert_eq!(open(&world.windows(5, silent)), [""; 0], "the peer died");
    let map = world.windows(3, |s| {
        silent(s);
        let outcomes = peer(s, CLIENT, far(9), 443);
        outcomes.attempts += 2;
        outcomes.connected += 2;
    });
    assert_eq!(root(&map), "mtu_black_hole");
    let found = finding(&map, "mtu_black_hole");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Possible, Severity::Warn),
        "it may be a full accept queue"
    );
}

#[test]
fn one_connection_may_be_a_peer_that_roams_away() {
    for code in [SILENT, PASSES_SMALLER] {
        let mut world = World::new();
        let map = world.windows(6, |s| stall(s, far(9), code, 1, 2));
        assert_eq!(open(&map), [""; 0]);
    }
}

#[test]
fn loss_of_any_segment_is_no_black_hole() {
    let mut world = World::new();
    let lossy = |s: &mut Snapshot| stall(s, far(9), PASSES_SMALLER, 2, 100);
    assert_eq!(open(&world.windows(5, lossy)), [""; 0]);
}
