//! Owners from window to window.

use std::net::Ipv4Addr;

use super::*;
use crate::scope::Proto;
use crate::snapshot::{DatagramSocket, Listener, Table};

const SECOND: u64 = 1_000_000_000;

/// None at all were not read.
fn table(listeners: &[Listener]) -> Table<Listener> {
    Table {
        read_ns: u64::from(!listeners.is_empty()),
        rows: listeners.to_vec(),
    }
}

fn listener(inode: u32, queued: u32) -> Listener {
    Listener {
        address: Ipv4Addr::LOCALHOST.into(),
        port: 80,
        queued,
        backlog: 8,
        inode,
        uid: 0,
    }
}

fn opener(pid: u32) -> Opener {
    let mut comm = [0; 16];
    comm[..3].copy_from_slice(b"web");
    Opener {
        inode: 1,
        started_ns: 70_000_000,
        cgroup: 1,
        netns: 1,
        pid,
        comm,
    }
}

/// One window: what is known after it, and what is asked for.
fn step(
    registry: &mut Registry,
    listeners: &[Listener],
    openers: &[(u32, u32)],
    holders: Option<Holders>,
    second: u64,
) -> (Owners, Vec<u32>) {
    let openers = openers.iter().map(|(inode, pid)| (*inode, opener(*pid)));
    let state = NetnsState {
        listeners: table(listeners),
        ..NetnsState::default()
    };
    let known = registry.follow(
        &[state],
        &openers.collect(),
        holders,
        second * SECOND,
        &mut Cgroups::new(None),
    );
    (known, registry.take_wanted().held)
}

#[test]
fn an_opener_that_has_ended_stays_named_as_it_was() {
    let mut registry = Registry::default();
    let pid = u32::MAX - 1;
    let (known, wanted) = step(&mut registry, &[listener(1, 0)], &[(1, pid)], None, 1);
    let opened_by = known.of[&1].opened_by.as_ref().expect("an opener");
    assert_eq!((opened_by.pid, opened_by.comm.as_str()), (pid, "web"));
    assert!(opened_by.start_time > 0);
    assert!(wanted.is_empty(), "nobody asks for what is known");
}

#[test]
fn another_process_with_its_id_is_not_taken_for_it() {
    let own = std::process::id();
    let (known, _) = step(
        &mut Registry::default(),
        &[listener(1, 0)],
        &[(1, own)],
        None,
        1,
    );
    let opened_by = known.of[&1].opened_by.as_ref().expect("an opener");
    // This process did not start 70 ms after boot.
    assert_eq!(
        (opened_by.start_time, opened_by.comm.as_str()),
        (start_time(70_000_000).unwrap_or(0), "web")
    );
}

#[test]
fn a_nameless_listener_is_asked_about_once() {
    let mut registry = Registry::default();
    let one = [listener(1, 0)];
    assert_eq!(step(&mut registry, &one, &[], None, 1).1, [1]);
    assert!(
        step(&mut registry, &one, &[], Some(Holders::default()), 2)
            .1
            .is_empty()
    );
    assert!(step(&mut registry, &one, &[], None, 60).1.is_empty());
    let two = [listener(1, 0), listener(2, 0)];
    assert_eq!(step(&mut registry, &two, &[], None, 61).1, [2]);
    let three = [listener(3, 0)];
    assert!(
        step(&mut registry, &three, &[], None, 62).1.is_empty(),
        "too soon"
    );
    assert_eq!(step(&mut registry, &three, &[], None, 66).1, [3]);
}

#[test]
fn while_connections_wait_it_is_asked_again() {
    let mut registry = Registry::default();
    let full = [listener(1, 4)];
    assert_eq!(step(&mut registry, &full, &[(1, 7)], None, 1).1, [1]);
    let held = Held {
        processes: 5,
        ..Held::default()
    };
    let found = Holders {
        held: HashMap::from([(1, held.clone()), (9, held)]),
        served: HashMap::new(),
        unread: 3,
    };
    let (known, wanted) = step(&mut registry, &full, &[(1, 7)], Some(found), 2);
    assert_eq!((known.of[&1].processes, known.unread), (Some(5), 3));
    assert!(wanted.is_empty() && known.of.len() == 1);
    assert_eq!(step(&mut registry, &full, &[(1, 7)], None, 6).1, [1]);
    let quiet = [listener(1, 3)];
    assert!(
        step(&mut registry, &quiet, &[(1, 7)], None, 20)
            .1
            .is_empty()
    );
    let (known, _) = step(&mut registry, &[], &[(1, 7)], None, 21);
    assert_eq!(known.of.len(), 1, "a late reader makes nobody forget");
    let (known, _) = step(&mut registry, &[listener(2, 0)], &[(1, 7)], None, 22);
    assert!(known.of.is_empty(), "who is gone is forgotten");
}

/// One window with a listener and a socket for datagrams, and these findings open.
fn disputed(findings: &[Scope], queued_bytes: u64) -> Wanted {
    let mut state = NetnsState {
        listeners: table(&[listener(1, 0), listener(2, 0)]),
        ..NetnsState::default()
    };
    state.listeners[1].port = 81;
    state.datagram_sockets.rows.push(DatagramSocket {
        cookie: 1,
        inode: 3,
        address: Ipv4Addr::LOCALHOST.into(),
        port: 53,
        queued_bytes,
        buffer_bytes: 1000,
        drops: 5,
    });
    let mut registry = Registry {
        disputed: findings.iter().cloned().collect(),
        ..Registry::default()
    };
    let openers = HashMap::from([(1, opener(7)), (2, opener(7))]);
    let mut cgroups = Cgroups::new(None);
    registry.follow(&[state], &openers, None, SECOND, &mut cgroups);
    registry.take_wanted()
}

#[test]
fn who_serves_is_asked_only_where_a_finding_is_open() {
    let netns = NetnsState::default().netns;
    let wanted = |held: &[u32], served: &[u32]| Wanted {
        held: held.to_vec(),
        served: served.to_vec(),
    };
    assert_eq!(disputed(&[], 0), wanted(&[], &[]));
    assert_eq!(disputed(&[], 500), wanted(&[3], &[]), "a buffer that fills");
    let listener = Scope::listener(&netns, Ipv4Addr::LOCALHOST.into(), 81);
    assert_eq!(disputed(&[listener], 0), wanted(&[2], &[2]));
    let datagrams = Scope {
        proto: Some(Proto::Udp),
        ..Scope::listener(&netns, Ipv4Addr::LOCALHOST.into(), 53)
    };
    assert_eq!(disputed(&[datagrams], 0), wanted(&[3], &[]));
}

#[test]
fn who_served_last_stays_known() {
    let mut registry = Registry::default();
    let one = [listener(1, 0)];
    let process = describe(std::process::id()).expect("own process");
    let held = |sockets| Held {
        holders: vec![SocketHolder {
            process: process.clone(),
            sockets,
        }],
        processes: 1,
        sockets,
    };
    let served = |held| Holders {
        served: HashMap::from([(1, held)]),
        ..Holders::default()
    };
    let (known, _) = step(&mut registry, &one, &[], Some(served(held(9))), 1);
    let known_now = &known.of[&1].served_by;
    assert_eq!(known_now.as_slice(), std::slice::from_ref(&process));
    assert_eq!(
        (known.of[&1].servers, known.of[&1].processes),
        (Some(1), None)
    );
    let (known, _) = step(&mut registry, &one, &[], Some(served(Held::default())), 2);
    assert_eq!(
        known.of[&1].served_by,
        [process],
        "no connection is open any more"
    );
}
