//! L7: resolvers that fail, are silent or slow.

use osi_common::dns::Resolver;
use osi_common::handshake::PeerKey;
use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, SECOND, World, bytes, complete, far, finding, hang, near, open, root, sample,
};
use super::l7_application::serve;
use super::packet_filtered::{filtered, packet};
use crate::snapshot::Snapshot;
use crate::verdict::Severity;

const MS: u64 = 1_000_000;

fn resolver(snapshot: &mut Snapshot, number: u8) -> &mut Resolver {
    let (family, address) = bytes(far(number));
    let key = PeerKey {
        netns: CLIENT,
        family,
        port: 53,
        address,
    };
    snapshot.kernel.resolvers.entry(key).or_default()
}

/// So many answers, each after this time, and of them so many that say there is no such name.
fn answer(snapshot: &mut Snapshot, count: u64, ns: u64, unknown: u64) -> &mut Resolver {
    let row = resolver(snapshot, 3);
    complete(&mut row.answers, count, ns);
    row.outcomes.noerror += count - unknown;
    row.outcomes.nxdomain += unknown;
    row
}

/// Turns so many of the good answers into SERVFAIL.
fn fail(row: &mut Resolver, count: u64) {
    row.outcomes.noerror -= count;
    row.outcomes.servfail += count;
}

#[test]
fn a_resolver_that_answers_with_errors_is_named_with_its_codes_and_names() {
    let mut world = World::new();
    let few = |s: &mut Snapshot| fail(answer(s, 20, MS, 0), 5);
    assert_eq!(open(&world.windows(5, few)), [""; 0], "five are not many");
    let rare = |s: &mut Snapshot| fail(answer(s, 100, MS, 0), 10);
    assert_eq!(open(&world.windows(5, rare)), [""; 0], "a tenth is not");
    let map = world.windows(2, |s| {
        fail(answer(s, 20, MS, 0), 6);
        let mut seen = sample(CLIENT, Kind::DnsFailed, 2, (far(1), 4711), (far(3), 53));
        seen.name[..12].copy_from_slice(b"\x03www\x07example");
        s.samples.push(seen);
    });
    assert_eq!(open(&map), ["dns_failing"]);
    let found = finding(&map, "dns_failing");
    assert_eq!(
        (found.severity, found.scope.remote, found.scope.port),
        (Severity::Critical, Some(far(3)), Some(53))
    );
    assert_eq!(found.evidence[0].signal, "dns_errors");
    assert_eq!(found.evidence[0].why, "6 SERVFAIL, such as for www.example");
    let good = |s: &mut Snapshot| {
        answer(s, 20, MS, 0);
    };
    assert_eq!(world.until_calm(good), 5);
}

#[test]
fn names_that_do_not_exist_are_normal_up_to_what_is_usual() {
    let asked = |unknown| {
        move |s: &mut Snapshot| {
            answer(s, 50, MS, unknown);
        }
    };
    let mut world = World::new();
    assert_eq!(
        open(&world.windows(10, asked(40))),
        [""; 0],
        "a search list asks for five names to find one"
    );
    let mut world = World::new();
    world.windows(6, asked(5));
    assert_eq!(
        open(&world.windows(5, asked(14))),
        [""; 0],
        "not three times"
    );
    let map = world.windows(2, asked(30));
    assert_eq!(open(&map), ["dns_failing"]);
    let found = finding(&map, "dns_failing");
    assert_eq!(found.evidence[0].signal, "dns_nxdomain");
    assert_eq!(found.severity, Severity::Warn);
    assert_eq!(world.until_calm(asked(5)), 5);
}

#[test]
fn a_resolver_that_is_silent_is_named_as_long_as_it_is_asked() {
    let mut world = World::new();
    let silent = |since_s: u64, count| {
        move |s: &mut Snapshot| {
            let since_ns = s.boot_ns - since_s * SECOND;
            hang(&mut resolver(s, 3).answers, count, since_ns);
        }
    };
    world.windows(5, |s| {
        answer(s, 20, MS, 0);
    });
    assert_eq!(
        open(&world.windows(5, silent(1, 8))),
        [""; 0],
        "for a second"
    );
    assert_eq!(
        open(&world.windows(5, silent(4, 3))),
        [""; 0],
        "three times"
    );
    let map = world.windows(2, silent(4, 4));
    assert_eq!(open(&map), ["dns_timeout"]);
    let found = finding(&map, "dns_timeout");
    assert_eq!(found.severity, Severity::Critical);
    assert!(found.summary.contains("4 in a row"), "{}", found.summary);
    // All of them are given up, and nobody asks any more.
    let over = |s: &mut Snapshot| {
        let row = &mut resolver(s, 3).answers;
        row.ended = row.begun;
    };
    assert_eq!(world.until_calm(over), 5);
}

#[test]
fn a_resolver_that_leaves_some_queries_out_is_named() {
    let mut world = World::new();
    let lost = |count: u64| {
        move |s: &mut Snapshot| {
            let row = answer(s, 36, MS, 0);
            row.outcomes.no_answer += count;
            row.answers.begun += count;
            row.answers.ended += count;
            row.answers.passed = row.answers.begun;
        }
    };
    assert_eq!(open(&world.windows(5, lost(4))), [""; 0]);
    let map = world.windows(2, lost(5));
    assert_eq!(open(&map), ["dns_timeout"]);
}

#[test]
fn what_this_host_drops_is_why_nothing_comes_back() {
    let mut world = World::new();
    world.windows(5, |s| {
        answer(s, 20, MS, 0);
    });
    let map = world.windows(3, |s| {
        let query = packet(0, 17, (near(1), 40_000), (far(3), 53));
        filtered(s, 8, [query; 4]);
        let since_ns = s.boot_ns - 2 * SECOND;
        hang(&mut resolver(s, 3).answers, 8, since_ns);
    });
    assert_eq!(open(&map), ["dns_timeout", "packet_filtered"]);
    assert_eq!(root(&map), "packet_filtered");
}

#[test]
fn a_resolver_that_is_slower_than_usual_is_named() {
    let takes = |ns| {
        move |s: &mut Snapshot| {
            answer(s, 20, ns, 0);
        }
    };
    let mut world = World::new();
    assert_eq!(open(&world.windows(20, takes(400 * MS))), [""; 0], "always");
    let mut world = World::new();
    world.windows(6, takes(5 * MS));
    assert_eq!(open(&world.windows(5, takes(80 * MS))), [""; 0], "below");
    let map = world.windows(2, takes(300 * MS));
    assert_eq!(open(&map), ["dns_slow"]);
    let found = finding(&map, "dns_slow");
    assert_eq!(found.severity, Severity::Warn);
    assert_eq!(found.impact.peers, 1);
    assert_eq!(world.until_calm(takes(5 * MS)), 5);
}

#[test]
fn a_slow_resolver_explains_the_answers_that_wait_for_it() {
    let both = |dns_ns, own_ns| {
        move |s: &mut Snapshot| {
            answer(s, 50, dns_ns, 0);
            serve(s, 50, MS, own_ns);
        }
    };
    let mut world = World::new();
    world.windows(6, both(5 * MS, 20 * MS));
    let map = world.windows(2, both(400 * MS, 420 * MS));
    assert_eq!(open(&map), ["application_slow", "dns_slow"]);
    assert_eq!(root(&map), "dns_slow");
    // Whoever takes much longer waits for something else.
    let mut world = World::new();
    world.windows(6, both(5 * MS, 20 * MS));
    let map = world.windows(2, both(150 * MS, 3000 * MS));
    assert_eq!(finding(&map, "application_slow").explained_by, [""; 0]);
}

#[test]
fn a_resolver_that_takes_its_time_is_not_silent_sooner() {
    let mut world = World::new();
    world.windows(6, |s| {
        answer(s, 20, 1200 * MS, 0);
    });
    let waits = |since_s: u64| {
        move |s: &mut Snapshot| {
            let since_ns = s.boot_ns - since_s * SECOND;
            hang(&mut resolver(s, 3).answers, 8, since_ns);
        }
    };
    assert_eq!(open(&world.windows(5, waits(3))), [""; 0]);
    assert_eq!(open(&world.windows(2, waits(5))), ["dns_timeout"]);
}
