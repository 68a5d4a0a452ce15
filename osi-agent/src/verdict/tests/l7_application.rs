//! Applications that read nothing, answer slowly, or wait for others.

use core::net::{IpAddr, Ipv4Addr};

use super::builder::{
    CLIENT, SECOND, World, complete, finding, hang, listener, mib, near, open, requests, root,
    state,
};
use super::l5_session::{descriptors, opened_by_web};
use crate::snapshot::{End, Mib, Sessions, Snapshot};
use crate::verdict::{Confidence, FaultMap, Severity};
use osi_common::histogram::LatencyHistogram;
use osi_common::latency::LATENCIES;

pub(super) const MS: u64 = 1_000_000;

fn listening(s: &mut Snapshot) {
    state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, 0, 128)];
    s.kernel.latencies = vec![LatencyHistogram::EMPTY; LATENCIES as usize];
}

/// Requests that wait and are answered so fast.
pub(super) fn serve(s: &mut Snapshot, count: u64, dwell_ns: u64, response_ns: u64) {
    listening(s);
    let requests = requests(s, CLIENT, 80);
    complete(&mut requests.dwell, count, dwell_ns);
    complete(&mut requests.response, count, response_ns);
}

/// Requests arrived at the window's start and are not read.
pub(super) fn stall(s: &mut Snapshot, count: u64, seconds: u64) {
    listening(s);
    let since_ns = s.boot_ns - seconds * SECOND;
    hang(&mut requests(s, CLIENT, 80).dwell, count, since_ns);
}

/// Seven requests are not read, as their waits tell; the kernel shows so many of them unread, which fill so many pages.
pub(super) fn unread(s: &mut Snapshot, unread: u64, unread_pages: u64) {
    stall(s, 7, 20);
    let now = s.boot_ns;
    let sessions = &mut state(s, CLIENT).sessions;
    sessions.read_ns = now;
    sessions.rows = vec![Sessions {
        end: End::Listener(near(1), 80),
        open: 7,
        close_wait: 0,
        long_close_wait: 0,
        unread,
        unread_pages,
        unread_ms: None,
        holders: None,
    }];
}

fn share(map: &FaultMap) -> Option<f64> {
    map.layers[0].saturation_ratio
}

#[test]
fn an_application_that_reads_nothing_is_named_with_its_listener() {
    let mut world = World::new();
    world.window(|s| serve(s, 10, MS, MS));
    assert_eq!(open(&world.window(|s| stall(s, 3, 1))), [""; 0]);
    let map = world.window(|s| stall(s, 7, 2));
    assert_eq!(open(&map), ["application_stalled"]);
    let found = finding(&map, "application_stalled");
    assert_eq!(
        (found.severity, found.confidence, found.impact.connections),
        (Severity::Critical, Confidence::Certain, 7)
    );
    assert_eq!(
        (found.scope.local, found.scope.port),
        (Some(near(1)), Some(80))
    );
    assert!(found.summary.contains("10.0.0.1:80"), "{}", found.summary);
    assert_eq!(share(&map), Some(1.0));
    let dwell = &map.layers[0].latency["request_dwell"];
    assert_eq!((dwell.in_flight, dwell.oldest_age_ns), (7, 2 * SECOND));
    assert_eq!(world.until_calm(|s| serve(s, 10, MS, MS)), 5);
}

#[test]
fn a_single_request_that_waits_is_a_warning_in_the_second_window() {
    let mut world = World::new();
    assert_eq!(open(&world.window(|s| stall(s, 1, 2))), [""; 0]);
    let map = world.window(|s| stall(s, 1, 3));
    let found = finding(&map, "application_stalled");
    assert_eq!(found.severity, Severity::Warn);
    assert!(
        found.summary.contains("a request waits"),
        "{}",
        found.summary
    );
}

#[test]
fn who_never_read_anything_may_be_made_so() {
    let mut world = World::new();
    let map = world.windows(2, |s| stall(s, 7, 20));
    let found = finding(&map, "application_stalled");
    assert_eq!(
        (found.severity, found.confidence),
        (Severity::Warn, Confidence::Likely)
    );
}

#[test]
fn what_the_kernel_shows_as_read_does_not_wait() {
    let mut world = World::new();
    world.window(|s| serve(s, 10, MS, MS));
    assert_eq!(open(&world.windows(5, |s| unread(s, 0, 0))), [""; 0]);
    let map = world.window(|s| unread(s, 7, 0));
    assert_eq!(open(&map), ["application_stalled"]);
}

#[test]
fn what_the_kernel_showed_before_the_wait_tells_nothing_of_it() {
    let mut world = World::new();
    world.window(|s| serve(s, 10, MS, MS));
    let map = world.window(|s| {
        unread(s, 0, 0);
        state(s, CLIENT).sessions.read_ns -= 21 * SECOND;
    });
    assert_eq!(open(&map), ["application_stalled"]);
}

#[test]
fn one_connection_left_alone_beside_others_is_no_stall() {
    let mut world = World::new();
    world.window(|s| {
        serve(s, 10, MS, MS);
        requests(s, CLIENT, 80).dwell.ended -= 1;
    });
    let map = world.windows(10, |s| serve(s, 10, MS, MS));
    assert_eq!(open(&map), [""; 0]);
    assert_eq!(map.layers[0].latency["request_dwell"].in_flight, 1);
    // Nor is it one when nothing else happens for a while.
    assert_eq!(open(&world.windows(10, listening)), [""; 0]);
}

#[test]
fn a_stopped_application_explains_its_full_accept_queue() {
    let mut world = World::new();
    let map = world.window(|s| {
        stall(s, 5, 2);
        state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, 2, 1)];
        mib(s, CLIENT, Mib::ListenOverflows, 20);
        mib(s, CLIENT, Mib::ListenDrops, 20);
    });
    assert_eq!(open(&map), ["accept_queue_overflow", "application_stalled"]);
    assert_eq!(root(&map), "application_stalled");
}

#[test]
fn a_port_with_several_listeners_is_named_by_its_number() {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut world = World::new();
    world.window(|s| serve(s, 10, MS, MS));
    let map = world.window(|s| {
        stall(s, 5, 2);
        state(s, CLIENT).listeners.rows =
            vec![listener(near(1), 80, 0, 1), listener(any, 80, 2, 1)];
        mib(s, CLIENT, Mib::ListenOverflows, 20);
        mib(s, CLIENT, Mib::ListenDrops, 20);
    });
    let found = finding(&map, "application_stalled");
    assert_eq!((found.scope.local, found.scope.port), (None, Some(80)));
    assert!(found.summary.contains("port 80"), "{}", found.summary);
    assert_eq!(root(&map), "application_stalled");
}

#[test]
fn the_share_is_that_of_the_window_and_grows_to_that_of_the_requests() {
    let mut world = World::new();
    // At rest: 0.9 ms of waiting in a second, nine tenths of what requests take.
    let map = world.window(|s| serve(s, 10, 90_000, 10_000));
    assert_eq!(share(&map), Some(0.0009));
    let map = world.window(|s| serve(s, 50, 140 * MS, 20 * MS));
    assert_eq!(share(&map), Some(0.875));
    // Eight seconds of fifty requests in one second.
    let mut meters = map.layers[0].meters.iter();
    let row = meters.find(|row| row.id == "request_concurrency");
    assert_eq!(row.map(|row| row.used), Some(8.0));
    let rows: Vec<_> = map.layers[0]
        .latency_by_scope
        .iter()
        .map(|row| (row.id.as_str(), row.count, row.scope.port))
        .collect();
    let expected = [
        ("request_dwell", 50, Some(80)),
        ("response_time", 50, Some(80)),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn answers_slower_than_usual_are_named() {
    let mut world = World::new();
    world.windows(6, |s| serve(s, 100, MS, 10 * MS));
    assert_eq!(
        open(&world.windows(5, |s| serve(s, 100, MS, 90 * MS))),
        [""; 0]
    );
    let map = world.windows(2, |s| serve(s, 100, MS, 300 * MS));
    assert_eq!(open(&map), ["application_slow"]);
    let found = finding(&map, "application_slow");
    assert_eq!(found.evidence[0].signal, "response_time");
    assert_eq!(
        (found.severity, found.scope.local, found.scope.port),
        (Severity::Warn, Some(near(1)), Some(80))
    );
    assert_eq!(world.until_calm(|s| serve(s, 100, MS, 10 * MS)), 5);
}

#[test]
fn requests_that_wait_are_its_fault_where_they_do_little_else() {
    let usual = |s: &mut Snapshot| serve(s, 20, MS, 50 * MS);
    let mut world = World::new();
    world.windows(6, usual);
    assert_eq!(
        open(&world.windows(5, |s| serve(s, 20, 150 * MS, 50 * MS))),
        [""; 0]
    );
    let map = world.windows(2, |s| serve(s, 20, 400 * MS, 50 * MS));
    assert_eq!(open(&map), ["application_slow"]);
    let found = finding(&map, "application_slow");
    assert_eq!(found.evidence[0].signal, "request_dwell");
}

#[test]
fn what_is_slow_by_nature_or_new_is_no_fault() {
    let mut world = World::new();
    assert_eq!(
        open(&world.windows(30, |s| serve(s, 20, MS, 3000 * MS))),
        [""; 0]
    );
}

#[test]
fn who_serves_in_turn_reads_when_it_is_done() {
    let mut world = World::new();
    world.windows(6, |s| serve(s, 20, 4 * SECOND, 3 * SECOND));
    assert_eq!(open(&world.windows(5, |s| stall(s, 5, 2))), [""; 0]);
    let map = world.window(|s| stall(s, 5, 20));
    assert_eq!(open(&map), ["application_stalled"]);
}

#[test]
fn who_has_no_descriptors_left_reads_nothing() {
    let mut world = World::new();
    world.window(|s| serve(s, 10, MS, MS));
    let map = world.window(|s| {
        unread(s, 7, 1);
        descriptors(64, 64)(s);
        opened_by_web(s);
    });
    assert_eq!(root(&map), "file_descriptors_exhausted");
    assert_eq!(map.verdict.other_roots.len(), 0);
}

#[test]
fn what_always_took_long_is_no_fault_when_the_rest_goes_home() {
    let mixed = |quick| {
        move |s: &mut Snapshot| {
            serve(s, quick, MS, 5 * MS);
            serve(s, 4, MS, 500 * MS);
        }
    };
    let mut world = World::new();
    world.windows(30, mixed(1000));
    assert_eq!(open(&world.windows(10, mixed(20))), [""; 0]);
    let map = world.windows(2, |s| serve(s, 20, MS, 500 * MS));
    assert_eq!(open(&map), ["application_slow"]);
}
