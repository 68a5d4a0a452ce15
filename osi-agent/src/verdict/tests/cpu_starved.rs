//! L7: who gets no CPU, and who is slow by himself beside it.

use super::builder::{
    CLIENT, SECOND, World, complete, finding, listener, near, open, requests, root, state,
};
use super::l5_session::opened_by_web;
use super::l7_application::{MS, serve, stall};
use crate::scope::ScopeKind;
use crate::snapshot::{Quota, Snapshot};
use crate::verdict::Severity;

/// Somebody waits for a CPU for half of the window.
fn press(s: &mut Snapshot) {
    let waited = s.host.waited_for_cpu.get_or_insert_default();
    waited.read_ns = s.boot_ns;
    waited.waited_ns += 500 * MS;
}

/// Requests at port 81 wait to be read; those at port 80 do not, and are answered after this time.
fn beside(answer_ns: u64) -> impl Fn(&mut Snapshot) {
    move |s| {
        serve(s, 100, MS, answer_ns);
        let rows = &mut state(s, CLIENT).listeners.rows;
        rows.push(listener(near(1), 81, 0, 128));
        complete(&mut requests(s, CLIENT, 81).dwell, 20, 200 * MS);
        complete(&mut requests(s, CLIENT, 81).response, 20, MS);
        press(s);
    }
}

/// The web server opened the listener, and its group was throttled in so many of ten periods, for so long.
fn throttle(s: &mut Snapshot, throttled: u64, withheld_ns: u64) {
    throttle_in(s, 10, throttled, withheld_ns);
}

/// The same for so many periods, after which the quota was lifted.
fn throttle_in(s: &mut Snapshot, periods: u64, throttled: u64, withheld_ns: u64) {
    opened_by_web(s);
    if s.host.quotas.rows.is_empty() {
        s.host.quotas.rows.push(Quota {
            group: "/sys/fs/cgroup/web".to_owned(),
            period_ns: 100 * MS,
            quota_ns: 5 * MS,
            periods: 0,
            throttled: 0,
            withheld_ns: 0,
            members: vec![42],
        });
    }
    let row = &mut s.host.quotas.rows[0];
    row.periods += periods;
    row.throttled += throttled;
    row.withheld_ns += withheld_ns;
}

#[test]
fn busy_cpus_explain_who_waits_for_one_and_not_who_reads_at_once() {
    let mut world = World::new();
    world.windows(6, beside(10 * MS));
    let map = world.windows(2, beside(3 * SECOND));
    assert_eq!(open(&map), ["application_slow", "cpu_starved"]);
    assert_eq!(finding(&map, "application_slow").explained_by, [""; 0]);
    let mut world = World::new();
    let waits = |dwell_ns| {
        move |s: &mut Snapshot| {
            serve(s, 20, dwell_ns, 2 * MS);
            press(s);
        }
    };
    world.windows(6, waits(MS));
    let map = world.windows(2, waits(400 * MS));
    assert_eq!(root(&map), "cpu_starved");
    assert_eq!(map.verdict.symptoms[0].cause, "application_slow");
    assert_eq!(map.verdict.other_roots.len(), 0);
    // Once seen to wait, it waits also in a window in which most were read at once.
    assert_eq!(root(&world.window(waits(MS))), "cpu_starved");
}

#[test]
fn pressure_is_told_of_the_time_between_two_readings() {
    let mut world = World::new();
    let waits = |s: &mut Snapshot| serve(s, 20, 400 * MS, 2 * MS);
    world.window(|s| {
        waits(s);
        press(s);
    });
    // A quarter of two seconds, read in every other pass.
    for _ in 0..10 {
        world.window(waits);
        let map = world.window(|s| {
            waits(s);
            press(s);
        });
        assert_eq!(open(&map), [""; 0]);
    }
}

#[test]
fn a_quota_explains_as_much_as_it_withheld() {
    for (withheld_ns, is_explained) in [(60 * MS, false), (950 * MS, true)] {
        let mut world = World::new();
        world.windows(6, |s| {
            serve(s, 20, MS, 10 * MS);
            throttle(s, 0, 0);
        });
        let map = world.windows(2, |s| {
            serve(s, 20, MS, 3 * SECOND);
            throttle(s, 10, withheld_ns);
        });
        assert_eq!(open(&map), ["application_slow", "cpu_starved"]);
        let explained = !finding(&map, "application_slow").explained_by.is_empty();
        assert_eq!(explained, is_explained, "{withheld_ns}");
    }
}

#[test]
fn a_quota_that_is_always_used_up_makes_a_queue() {
    let mut world = World::new();
    world.windows(6, |s| {
        serve(s, 20, MS, 10 * MS);
        throttle(s, 0, 0);
    });
    let map = world.windows(2, |s| {
        serve(s, 20, 2 * SECOND, 12 * MS);
        throttle(s, 10, 200 * MS);
    });
    assert_eq!(root(&map), "cpu_starved");
    assert_eq!(map.verdict.symptoms[0].cause, "application_slow");
    assert_eq!(map.verdict.other_roots.len(), 0);
}

#[test]
fn who_has_half_of_a_cpu_and_reads_nothing_is_stalled() {
    for (withheld_ns, stalled_by) in [(500 * MS, "application_stalled"), (950 * MS, "cpu_starved")]
    {
        let mut world = World::new();
        world.windows(6, |s| {
            serve(s, 20, MS, 10 * MS);
            throttle(s, 0, 0);
        });
        let map = world.windows(3, |s| {
            stall(s, 7, 20);
            throttle(s, 10, withheld_ns);
        });
        assert_eq!(root(&map), stalled_by);
    }
}

#[test]
fn a_quota_that_was_lifted_is_why_nothing_was_read_until_then() {
    for (periods, withheld_ns, stalled_by) in [
        (6, 560 * MS, "cpu_starved"),
        (6, 400 * MS, "application_stalled"),
        (2, 190 * MS, "application_stalled"),
    ] {
        let mut world = World::new();
        world.windows(6, |s| {
            serve(s, 20, MS, 10 * MS);
            throttle(s, 0, 0);
        });
        world.windows(2, |s| {
            serve(s, 20, MS, 10 * MS);
            throttle(s, 2, 20 * MS);
        });
        let map = world.window(|s| {
            stall(s, 7, 20);
            throttle_in(s, periods, periods, withheld_ns);
        });
        assert_eq!(root(&map), stalled_by, "{withheld_ns}");
    }
}

#[test]
fn a_quota_is_told_of_who_opened_the_listener_and_hurts_whom_it_makes_slow() {
    let map = World::new().windows(12, |s| {
        serve(s, 20, MS, MS);
        throttle(s, 2, 100 * MS);
    });
    let found = finding(&map, "cpu_starved");
    assert_eq!(
        (found.scope.kind, found.severity),
        (ScopeKind::Process, Severity::Warn)
    );
    let text = &map.verdict.advice[0].text;
    assert!(text.contains("20 %"), "{text}");
}
