//! The ledger of failed connects.

use osi_common::failure::{Failure, Killer};
use osi_common::occurrence::{Count, Key, Kind};

use super::builder::{CLIENT, World, far, occur, peer_record};
use crate::snapshot::Snapshot;
use crate::verdict::{FailedConnects, FaultMap};

const NETFILTER_DROP: u32 = 12;
const LOCATION: u64 = 7;

fn code(errno: u32, killer: Killer) -> u32 {
    let reason = if killer == Killer::Dropped {
        NETFILTER_DROP
    } else {
        0
    };
    let failure = Failure {
        errno,
        killer,
        reason,
    };
    failure.code()
}

fn dropped(s: &mut Snapshot, more: u64) {
    let key = Key {
        kind: Kind::ConnectFailed as u32,
        code: code(0, Killer::Dropped),
        netns: CLIENT,
        ifindex: 0,
        location: LOCATION,
    };
    let names = ("NETFILTER_DROP".into(), "nf_hook_slow".into());
    s.kernel.reasons.insert((NETFILTER_DROP, LOCATION), names);
    let count: &mut Count = s.kernel.occurrences.entry(key).or_default();
    count.count += more;
}

fn told(rows: &[FailedConnects]) -> Vec<(&str, &str, &str, u64)> {
    let mut told = Vec::new();
    for row in rows {
        let layer = row.killed_by.layer.as_deref().unwrap_or("-");
        let errno = row.errno.as_deref().unwrap_or("-");
        told.push((layer, row.killed_by.what.as_str(), errno, row.count));
    }
    told
}

fn ledger(map: &FaultMap) -> Vec<(&str, &str, &str, u64)> {
    told(&map.layers[3].failed_connects)
}

#[test]
fn failed_connects_are_told_by_layer_what_and_errno_most_first() {
    let mut world = World::new();
    let map = world.window(|s| {
        occur(
            s,
            CLIENT,
            Kind::ConnectFailed,
            code(110, Killer::NoAnswer),
            5,
        );
        occur(s, CLIENT, Kind::PortExhausted, code(99, Killer::NoPort), 2);
        occur(s, CLIENT, Kind::ConnectFailed, Key::OTHER, 1);
        dropped(s, 3);
    });
    assert_eq!(
        ledger(&map),
        [
            ("L4", "no_answer", "ETIMEDOUT", 5),
            ("L3", "NETFILTER_DROP", "-", 3),
            ("L4", "no_port", "EADDRNOTAVAIL", 2),
            ("-", "unknown", "-", 1),
        ]
    );
    let map = world.window(|s| dropped(s, 4));
    assert_eq!(ledger(&map), [("L3", "NETFILTER_DROP", "-", 4)]);
    assert!(world.window(|_| {}).layers[3].failed_connects.is_empty());
}

#[test]
fn sixteen_rows_are_told_and_the_connects_of_the_others_counted() {
    let mut world = World::new();
    let map = world.window(|s| {
        for errno in 1..=20 {
            let code = code(errno, Killer::Other);
            occur(s, CLIENT, Kind::ConnectFailed, code, u64::from(errno));
        }
    });
    let l4 = &map.layers[3];
    assert_eq!(l4.failed_connects.len(), 16);
    assert_eq!(l4.failed_connects_omitted, 1 + 2 + 3 + 4);
    let shown: u64 = l4.failed_connects.iter().map(|row| row.count).sum();
    assert_eq!(shown + l4.failed_connects_omitted, 210);
}

#[test]
fn peers_have_rows_of_their_own() {
    let mut world = World::new();
    let map = world.window(|s| {
        dropped(s, 3);
        let record = peer_record(s, CLIENT, far(7), 443);
        record.killed.dropped += 3;
        record.killed.reset += 4;
        (record.drop_reason, record.drop_location) = (NETFILTER_DROP, LOCATION);
    });
    let rows = &map.layers[3].failed_connects_by_peer;
    assert_eq!(
        told(rows),
        [("L4", "reset", "-", 4), ("L3", "NETFILTER_DROP", "-", 3)]
    );
    assert!(rows.iter().all(|row| row.scope.remote == Some(far(7))));
}
