//! Clients that a filter keeps out for good reason, while others get in.

use super::builder::{CLIENT, World, far, finding, listener, mib, near, state};
use super::packet_filtered::{any, filtered, knocks, of_connection};
use crate::snapshot::Mib;
use crate::verdict::{Confidence, Severity};

/// A ban is for one source, a wrong rule for everybody.
#[test]
fn clients_that_are_banned_while_others_get_in_are_at_most_a_warning() {
    let grade = |clients: u8, accepted: u64, windows: u64| {
        let mut world = World::new();
        let map = world.windows(windows, |s| {
            state(s, CLIENT).listeners.rows = vec![listener(any(), 22, 0, 128)];
            mib(s, CLIENT, Mib::TcpPassiveOpens, accepted);
            let clients: Vec<_> = (0..clients).map(|n| near(60 + n)).collect();
            filtered(s, 40, knocks(&clients, 4, (near(1), 22)));
        });
        let found = map.open.first();
        found.map(|found| (found.confidence, found.severity))
    };
    let (possible, likely) = (Confidence::Possible, Confidence::Likely);
    for (clients, accepted, confidence) in [(1, 1, possible), (2, 1, likely), (1, 0, likely)] {
        assert_eq!(grade(clients, accepted, 2), None);
        let later = grade(clients, accepted, 10);
        assert_eq!(later, Some((confidence, Severity::Warn)));
    }
    let certain = (Confidence::Certain, Severity::Critical);
    assert_eq!(grade(2, 0, 1), Some(certain));
}

/// One client on two ports is one client.
#[test]
fn a_client_that_tries_two_ports_is_one() {
    let mut world = World::new();
    let map = world.windows(3, |s| {
        state(s, CLIENT).listeners.rows =
            vec![listener(any(), 22, 0, 128), listener(any(), 80, 0, 128)];
        for port in [22, 80] {
            filtered(s, 20, knocks(&[near(66)], 4, (near(1), port)));
        }
    });
    let found = finding(&map, "packet_filtered");
    assert_eq!(found.severity, Severity::Warn);
}

/// Who is banned may still have connections to us, to which we go on sending.
#[test]
fn a_client_that_is_banned_in_the_middle_of_its_connection_is_a_possible_warning() {
    let grade = |clients: u8, accepted: u64, windows: u64| {
        let map = World::new().windows(windows, |s| {
            state(s, CLIENT).listeners.rows = vec![listener(any(), 22, 0, 128)];
            mib(s, CLIENT, Mib::TcpPassiveOpens, accepted);
            mib(s, CLIENT, Mib::TcpOutSegs, 4);
            mib(s, CLIENT, Mib::TcpRetransSegs, 2);
            let dropped = (0..clients).map(|n| of_connection((far(n), 40_000), (near(1), 22)));
            filtered(s, u64::from(clients), dropped);
        });
        let found = map.open.first();
        found.map(|found| (found.confidence, found.severity))
    };
    let (possible, likely) = (Confidence::Possible, Confidence::Likely);
    for (clients, accepted, confidence) in [(1, 0, possible), (1, 9, possible), (2, 9, likely)] {
        assert_eq!(grade(clients, accepted, 2), None);
        let later = grade(clients, accepted, 5);
        assert_eq!(later, Some((confidence, Severity::Warn)));
    }
    assert_eq!(grade(2, 0, 2), Some((likely, Severity::Critical)));
}
