//! Descriptors that run out, connections that break off, and those that nobody closes.

use core::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, SERVER, World, far, finding, listener, listener_record, mib, near, occur, open, peer,
    root, state,
};
use crate::host::holders::SocketHolder;
use crate::host::workload::Workload;
use crate::scope::{Process, ScopeKind};
use crate::snapshot::{End, Gauge, Mib, OpenFiles, Owner, Sessions, Snapshot, SocketHolders};
use crate::verdict::{Confidence, FaultMap, Severity};

const ESTABLISHED: u32 = 1;
const ETIMEDOUT: u32 = 110;

pub(super) fn web() -> Process {
    Process {
        pid: 42,
        start_time: 7,
        comm: "web".to_owned(),
        cgroup: None,
        workload: Workload::default(),
    }
}

/// It called `listen()` for the listener of the tests.
pub(super) fn opened_by_web(s: &mut Snapshot) {
    let owner = Owner {
        opened_by: Some(web()),
        ..Owner::default()
    };
    s.owners.of.insert(7, Arc::new(owner));
}

pub(super) fn descriptors(used: u64, limit: u64) -> impl Fn(&mut Snapshot) {
    move |s| {
        s.host.open_files = vec![OpenFiles {
            process: web(),
            netns: CLIENT,
            used,
            limit,
        }];
    }
}

fn severity(map: &FaultMap) -> Option<Severity> {
    map.open.first().map(|found| found.severity)
}

#[test]
fn a_process_without_descriptors_is_named_at_once() {
    let mut world = World::new();
    assert_eq!(open(&world.windows(5, descriptors(921, 1024))), [""; 0]);
    let map = world.window(descriptors(922, 1024));
    assert_eq!(severity(&map), Some(Severity::Warn));
    let map = world.window(descriptors(1024, 1024));
    let found = finding(&map, "file_descriptors_exhausted");
    assert_eq!(
        (found.severity, found.confidence, found.scope.kind),
        (Severity::Critical, Confidence::Certain, ScopeKind::Process)
    );
    assert_eq!(
        found.summary,
        "web (pid 42) in namespace client has 1024 of 1024 descriptors in use, 100 %: the next one is refused."
    );
    let advice = format!("{:?}", map.verdict.advice);
    assert!(advice.contains("prlimit --nofile --pid 42"), "{advice}");
    assert_eq!(world.until_calm(|s| s.host.open_files.clear()), 5);
}

#[test]
fn a_host_without_descriptors_is_named_too() {
    let map = World::new().window(|s| {
        s.host.files = Some(Gauge {
            used: 990,
            limit: 1000,
        });
    });
    let found = finding(&map, "file_descriptors_exhausted");
    assert_eq!(
        (found.scope.kind, found.severity),
        (ScopeKind::Host, Severity::Warn)
    );
}

#[test]
fn processes_of_other_namespaces_concern_nobody_who_watches_one() {
    let mut world = World::new();
    world.single_netns = true;
    let elsewhere = |s: &mut Snapshot| {
        descriptors(64, 64)(s);
        s.host.open_files[0].netns = SERVER;
    };
    assert_eq!(open(&world.windows(3, elsewhere)), [""; 0]);
    assert_eq!(
        root(&world.window(descriptors(64, 64))),
        "file_descriptors_exhausted"
    );
}

#[test]
fn a_queue_that_its_process_can_not_empty_is_a_symptom() {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let full = |s: &mut Snapshot, waiting| {
        state(s, CLIENT).listeners.rows = vec![listener(any, 80, waiting, 8)];
        mib(s, CLIENT, Mib::ListenOverflows, 5);
        opened_by_web(s);
    };
    // With none waiting any more nobody knows whose queue it was.
    for waiting in [9, 0] {
        let map = World::new().window(|s| {
            full(s, waiting);
            descriptors(64, 64)(s);
        });
        assert_eq!(
            open(&map),
            ["accept_queue_overflow", "file_descriptors_exhausted"]
        );
        assert_eq!(root(&map), "file_descriptors_exhausted");
        assert_eq!(map.verdict.symptoms.len(), 1);
    }
    // Another process is short of them.
    let map = World::new().window(|s| {
        full(s, 9);
        descriptors(64, 64)(s);
        s.host.open_files[0].process.pid = 43;
    });
    assert_eq!(map.verdict.other_roots.len(), 1);
}

/// Connections to a peer that begin, and that it resets.
fn resets(begun: u64, reset: u64) -> impl Fn(&mut Snapshot) {
    move |s| {
        let outcomes = peer(s, CLIENT, far(7), 443);
        outcomes.attempts += begun;
        outcomes.connected += begun;
        outcomes.sessions_reset += reset;
        occur(s, CLIENT, Kind::ResetReceived, ESTABLISHED, reset);
    }
}

#[test]
fn a_peer_that_resets_is_named_when_it_goes_on() {
    for (begun, reset) in [(0, 5), (200, 10)] {
        let map = World::new().windows(5, resets(begun, reset));
        assert_eq!(open(&map), [""; 0], "{reset} of {begun}");
    }
    let mut world = World::new();
    assert_eq!(open(&world.window(resets(100, 6))), [""; 0]);
    let map = world.window(resets(100, 6));
    let found = finding(&map, "sessions_reset");
    assert_eq!(
        (found.severity, found.confidence),
        (Severity::Warn, Confidence::Certain)
    );
    assert!(
        found
            .summary
            .starts_with("192.0.2.7:443 in namespace client reset 6"),
        "{}",
        found.summary
    );
}

#[test]
fn resets_of_idle_connections_are_a_design() {
    let map = World::new().windows(10, |s| {
        occur(s, CLIENT, Kind::ResetReceived, ESTABLISHED, 50);
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn clients_may_break_off_more_often() {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let broken = |reset: u64| {
        move |s: &mut Snapshot| {
            state(s, CLIENT).listeners.rows = vec![listener(any, 80, 0, 8)];
            let record = listener_record(s, CLIENT, 80);
            record.times.slots[3] += 100;
            record.sessions_reset += reset;
        }
    };
    assert_eq!(open(&World::new().windows(5, broken(25))), [""; 0]);
    let map = World::new().windows(2, broken(26));
    let found = finding(&map, "sessions_reset");
    assert_eq!(found.scope.kind, ScopeKind::Listener);
    assert!(
        found.summary.starts_with("Clients of 0.0.0.0:80"),
        "{}",
        found.summary
    );
}

#[test]
fn a_peer_that_falls_silent_is_named_at_once() {
    let silent = |count: u64| {
        move |s: &mut Snapshot| {
            peer(s, CLIENT, far(7), 443).sessions_timed_out += count;
            occur(s, CLIENT, Kind::Closed, ETIMEDOUT, count);
        }
    };
    assert_eq!(open(&World::new().windows(5, silent(3))), [""; 0]);
    let map = World::new().window(silent(4));
    let found = finding(&map, "sessions_timed_out");
    assert_eq!(found.severity, Severity::Critical);
    assert_eq!(found.evidence[0].value.to_string(), "4");
    let map = World::new().window(|s| {
        silent(4)(s);
        state(s, CLIENT).links[0].carrier = false;
        state(s, CLIENT).links[0].carrier_changes += 1;
    });
    assert_eq!(root(&map), "link_down");
}

/// Connections of the listener on port 80: some in CLOSE_WAIT for long, and who holds them.
fn held(long: u64, open: u64, holder: Option<Process>) -> impl Fn(&mut Snapshot) {
    move |s| {
        let now = s.boot_ns;
        let processes = holder.iter().map(|process| SocketHolder {
            process: process.clone(),
            // As of an earlier search.
            sockets: long / 2,
        });
        let sessions = &mut state(s, CLIENT).sessions;
        sessions.read_ns = now;
        sessions.rows = vec![Sessions {
            end: End::Listener(near(1), 80),
            open,
            close_wait: long,
            long_close_wait: long,
            unread: 0,
            unread_pages: 0,
            unread_ms: None,
            holders: Some(SocketHolders {
                processes: processes.collect(),
                ..SocketHolders::default()
            }),
        }];
    }
}

#[test]
fn connections_that_nobody_closes_are_named_while_they_become_more() {
    let mut world = World::new();
    for long in [10, 20] {
        assert_eq!(open(&world.window(held(long, 40, Some(web())))), [""; 0]);
    }
    assert_eq!(open(&world.window(held(30, 60, Some(web())))), [""; 0]);
    let map = world.window(held(30, 60, Some(web())));
    let found = finding(&map, "close_wait_leak");
    assert_eq!(found.scope.kind, ScopeKind::Process);
    assert!(
        found
            .summary
            .starts_with("web (pid 42) in namespace client does not close 30 of its 60 connections at 10.0.0.1:80"),
        "{}",
        found.summary
    );
    let short = |s: &mut Snapshot| {
        held(31, 60, Some(web()))(s);
        descriptors(64, 64)(s);
    };
    let map = world.window(short);
    assert_eq!(root(&map), "close_wait_leak");
    assert_eq!(map.verdict.symptoms[0].cause, "file_descriptors_exhausted");
    assert_eq!(
        world.until_calm(|s| {
            state(s, CLIENT).sessions.clear();
            s.host.open_files.clear();
        }),
        5
    );
}

#[test]
fn a_pool_that_keeps_what_servers_closed_is_none() {
    // All at once, or one of very many.
    assert_eq!(
        open(&World::new().windows(80, held(200, 400, None))),
        [""; 0]
    );
    let mut world = World::new();
    for long in 21..40 {
        assert_eq!(open(&world.window(held(long, 2000, None))), [""; 0]);
    }
    // One by one, as the servers' time-outs shrink it at night.
    let mut world = World::new();
    for long in 21..70 {
        assert_eq!(open(&world.window(held(long, 100, None))), [""; 0]);
    }
    // What comes and goes is never more than before.
    let mut world = World::new();
    for pass in 0..60 {
        let map = world.window(held(if pass % 2 == 0 { 60 } else { 50 }, 100, None));
        assert_eq!(open(&map), [""; 0]);
    }
}

#[test]
fn connections_wait_for_accept_as_long_as_they_queue() {
    let mut world = World::new();
    let queue = |queued: u32, arrived: u64| {
        move |s: &mut Snapshot| {
            state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, queued, 128)];
            for _ in 0..arrived {
                listener_record(s, CLIENT, 80).times.record(1000);
            }
        }
    };
    let wait = |map: &FaultMap| {
        let mut meters = map.layers.iter().flat_map(|layer| &layer.meters);
        meters
            .find(|row| row.id == "accept_wait")
            .map(|row| row.used)
    };
    // Nobody waits, or nobody is taken: there is nothing to tell.
    assert_eq!(wait(&world.window(queue(0, 10))), None);
    assert_eq!(wait(&world.window(queue(10, 10))), None);
    // Ten to twenty wait, and thirty are taken in a second: half a second each.
    assert_eq!(wait(&world.window(queue(20, 40))), Some(0.5e9));
}
