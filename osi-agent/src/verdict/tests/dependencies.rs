//! L7: peers that this host waits for.

use super::builder::{
    CLIENT, SECOND, World, complete, dependency, far, finding, hang, listener, near, open, root,
    state,
};
use super::l7_application::{MS, serve};
use crate::snapshot::Snapshot;
use crate::verdict::{FaultMap, Severity};

fn ask(s: &mut Snapshot, count: u64, ns: u64) {
    complete(&mut dependency(s, CLIENT, far(7), 5432).answers, count, ns);
}

/// Eight requests wait for it, the first of them for so many seconds.
fn wait(s: &mut Snapshot, seconds: u64) {
    let since_ns = s.boot_ns - seconds * SECOND;
    let answers = &mut dependency(s, CLIENT, far(7), 5432).answers;
    hang(answers, 8, since_ns);
}

/// A peer answers, and the application that asks it, each after so many milliseconds.
fn both((peer, own): (u64, u64)) -> impl Fn(&mut Snapshot) {
    move |s| {
        ask(s, 50, peer * MS);
        serve(s, 50, MS, own * MS);
    }
}

/// Some windows in which a peer answers, and the application that asks it, each after so many milliseconds; as they usually do, and
/// then as they do now.
fn wait_for_a_peer(usual: (u64, u64), now: (u64, u64)) -> FaultMap {
    let mut world = World::new();
    world.windows(6, both(usual));
    world.windows(2, both(now))
}

#[test]
fn a_slow_peer_explains_the_application_that_waits_for_it() {
    let map = wait_for_a_peer((5, 7), (300, 303));
    assert_eq!(open(&map), ["application_slow", "dependency_slow"]);
    assert_eq!(root(&map), "dependency_slow");
    let found = finding(&map, "dependency_slow");
    assert_eq!(
        (found.scope.remote, found.scope.port),
        (Some(far(7)), Some(5432))
    );
}

#[test]
fn one_slow_peer_of_several_explains_the_answers_that_waited_for_it() {
    let mut world = World::new();
    let both = |peer, slow| {
        move |s: &mut Snapshot| {
            ask(s, 10, peer * MS);
            serve(s, 90, MS, 7 * MS);
            serve(s, 10, MS, slow * MS);
        }
    };
    world.windows(6, both(5, 7));
    let map = world.windows(2, both(300, 303));
    assert_eq!(root(&map), "dependency_slow");
}

#[test]
fn answers_that_end_a_window_later_than_their_peers_are_still_explained() {
    let mut world = World::new();
    world.windows(6, both((5, 7)));
    assert_eq!(root(&world.windows(2, both((300, 303)))), "dependency_slow");
    assert_eq!(root(&world.window(both((5, 303)))), "dependency_slow");
    // Nobody answers in this one.
    assert_eq!(
        root(&world.window(|s| ask(s, 50, 300 * MS))),
        "dependency_slow"
    );
}

#[test]
fn a_peer_that_is_much_faster_than_the_application_explains_nothing() {
    let map = wait_for_a_peer((5, 7), (300, 3000));
    let found = finding(&map, "application_slow");
    assert_eq!(found.explained_by, [""; 0]);
}

#[test]
fn an_application_that_is_much_faster_than_the_peer_did_not_wait_for_it() {
    let map = wait_for_a_peer((5, 20), (2000, 300));
    let found = finding(&map, "application_slow");
    assert_eq!(found.explained_by, [""; 0]);
}

#[test]
fn a_peer_that_takes_its_time_on_purpose_is_not_missed() {
    let mut world = World::new();
    world.windows(6, |s| ask(s, 50, 5 * MS));
    // Once, somebody waited for a minute, and got what it waited for.
    world.window(|s| ask(s, 1, 60 * SECOND));
    world.windows(20, |s| ask(s, 50, 5 * MS));
    let map = world.windows(5, |s| wait(s, 30));
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn a_peer_with_which_connections_rest_after_a_send_is_not_missed() {
    for (not_due, is_missed) in [(4, true), (5, false)] {
        let mut world = World::new();
        world.windows(6, |s| ask(s, 50, 5 * MS));
        world.window(|s| {
            ask(s, 50, 5 * MS);
            dependency(s, CLIENT, far(7), 5432).not_due += not_due;
        });
        world.windows(6, |s| ask(s, 50, 5 * MS));
        let map = world.windows(5, |s| wait(s, 5));
        assert_eq!(open(&map).contains(&"dependency_slow"), is_missed);
    }
}

#[test]
fn a_peer_that_answers_no_more_is_named_and_one_that_never_did_is_not() {
    let mut world = World::new();
    assert_eq!(open(&world.windows(20, |s| wait(s, 20))), [""; 0]);
    world.windows(6, |s| ask(s, 50, 5 * MS));
    assert_eq!(open(&world.window(|s| wait(s, 1))), [""; 0]);
    let map = world.windows(2, |s| wait(s, 2));
    assert_eq!(open(&map), ["dependency_slow"]);
    let found = finding(&map, "dependency_slow");
    assert!(found.summary.contains("no more"), "{}", found.summary);
}

#[test]
fn a_possible_silence_stays_a_warning() {
    let mut world = World::new();
    world.windows(6, |s| ask(s, 50, 5 * MS));
    let map = world.windows(10, |s| wait(s, 5));
    assert_eq!(finding(&map, "dependency_slow").severity, Severity::Warn);
}

#[test]
fn a_peer_does_not_explain_the_listener_that_it_is() {
    for addresses in [1, 2] {
        let both = |ns: u64| {
            move |s: &mut Snapshot| {
                complete(&mut dependency(s, CLIENT, near(1), 80).answers, 50, ns + MS);
                serve(s, 50, MS, ns);
                let rows = &mut state(s, CLIENT).listeners.rows;
                rows.push(listener(near(2), 80, 0, 128));
                rows.truncate(addresses);
            }
        };
        let mut world = World::new();
        world.windows(6, both(5 * MS));
        let map = world.windows(2, both(300 * MS));
        assert_eq!(open(&map), ["application_slow", "dependency_slow"]);
        assert_eq!(finding(&map, "application_slow").explained_by, [""; 0]);
    }
}

#[test]
fn a_peer_that_is_slower_and_slower_explains_who_waits_for_it_in_the_end() {
    let mut world = World::new();
    world.windows(6, both((20, 200)));
    assert_eq!(
        open(&world.windows(100, both((150, 350)))),
        ["dependency_slow"]
    );
    let map = world.windows(2, both((2000, 2200)));
    assert_eq!(open(&map), ["application_slow", "dependency_slow"]);
    assert_eq!(root(&map), "dependency_slow");
    assert_eq!(map.verdict.other_roots.len(), 0);
}

#[test]
fn a_peer_that_nobody_asks_any_more_explains_nothing_new() {
    let mut world = World::new();
    world.windows(6, both((5, 7)));
    let map = world.windows(2, both((900, 7)));
    assert_eq!(open(&map), ["dependency_slow"]);
    let map = world.windows(2, |s| serve(s, 50, MS, 400 * MS));
    assert_eq!(open(&map), ["application_slow", "dependency_slow"]);
    assert_eq!(finding(&map, "application_slow").explained_by, [""; 0]);
}
