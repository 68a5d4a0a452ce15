//! L7: servers that answer with errors, or slowly, and what is behind it.

use core::net::Ipv4Addr;

use osi_common::handshake::PeerKey;
use osi_common::http::{Server, ServerKey};
use osi_common::occurrence::Kind;
use osi_common::wire::Role;

use super::builder::{
    CLIENT, SECOND, World, bytes, complete, dependency, far, finding, hang, listener,
    listener_record, mib, near, neighbour, occur, open, peer, requests, resolved, root, sample,
    state,
};
use crate::snapshot::{Mib, Snapshot};
use crate::verdict::Severity;

const MS: u64 = 1_000_000;

/// The server that is asked, or the one that serves.
fn key(role: Role) -> ServerKey {
    let at = match role {
        Role::Asking => far(7),
        Role::Serving => near(1),
    };
    let (family, address) = bytes(at);
    let server = PeerKey {
        netns: CLIENT,
        family,
        port: 80,
        address,
    };
    ServerKey {
        server,
        role: role as u32,
    }
}

/// So many answers of a server, each after this time, and so many of them errors of its own.
fn answer(s: &mut Snapshot, role: Role, count: u64, ns: u64, failed: u64) {
    let row: &mut Server = s.kernel.http_servers.entry(key(role)).or_default();
    complete(&mut row.answers, count, ns);
    row.outcomes.success += count - failed;
    row.outcomes.gateway_error += failed;
    state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, 0, 128)];
}

#[test]
fn a_server_that_answers_with_errors_is_named_with_its_codes_and_paths() {
    let fails = |count, failed| move |s: &mut Snapshot| answer(s, Role::Asking, count, MS, failed);
    let mut world = World::new();
    assert_eq!(open(&world.windows(5, fails(20, 5))), [""; 0], "few");
    assert_eq!(open(&world.windows(5, fails(200, 10))), [""; 0], "rare");
    let map = world.windows(2, |s| {
        answer(s, Role::Asking, 20, MS, 6);
        for (code, line) in [(503, &b"GET /cart"[..]), (404, b"GET /gone")] {
            let mut seen = sample(
                CLIENT,
                Kind::HttpFailed,
                code,
                (near(1), 4711),
                (far(7), 80),
            );
            seen.name[..line.len()].copy_from_slice(line);
            s.samples.push(seen);
        }
    });
    assert_eq!(open(&map), ["http_errors"]);
    let found = finding(&map, "http_errors");
    assert_eq!(
        (found.severity, found.scope.remote, found.scope.port),
        (Severity::Critical, Some(far(7)), Some(80))
    );
    let why = "are errors of the server, such as 503 for GET /cart";
    assert_eq!(found.evidence[0].why, why);
    assert_eq!(world.until_calm(fails(20, 0)), 5);
}

#[test]
fn requests_that_are_wrong_are_normal_life() {
    let mut world = World::new();
    let map = world.windows(10, |s| {
        answer(s, Role::Serving, 50, MS, 0);
        for row in s.kernel.http_servers.values_mut() {
            row.outcomes.success -= 25;
            row.outcomes.client_error += 25;
        }
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn what_is_served_counts_by_listener_and_what_is_only_handed_on_does_not() {
    let mut world = World::new();
    let map = world.windows(2, |s| answer(s, Role::Serving, 20, MS, 10));
    let found = finding(&map, "http_errors");
    assert_eq!(
        (found.scope.local, found.scope.port),
        (Some(near(1)), Some(80))
    );
    let handed_on = |s: &mut Snapshot| {
        answer(s, Role::Asking, 20, MS, 10);
        let rows = std::mem::take(&mut s.kernel.http_servers);
        let to_serving = |(key, row)| {
            let role = Role::Serving as u32;
            (ServerKey { role, ..key }, row)
        };
        s.kernel.http_servers = rows.into_iter().map(to_serving).collect();
    };
    assert_eq!(open(&World::new().windows(5, handed_on)), [""; 0]);
}

#[test]
fn a_backend_that_refuses_explains_the_errors_of_its_proxy() {
    let mut world = World::new();
    let map = world.windows(2, |s| {
        answer(s, Role::Serving, 20, MS, 20);
        let refusing = peer(s, CLIENT, far(9), 8080);
        refusing.attempts += 20;
        refusing.refused += 20;
        occur(s, CLIENT, Kind::ConnectFailed, 111, 20);
    });
    assert_eq!(open(&map), ["connection_refused", "http_errors"]);
    assert_eq!(root(&map), "connection_refused");
}

#[test]
fn an_application_that_fails_by_itself_is_not_excused_by_a_peer_that_refuses() {
    let mut world = World::new();
    let map = world.windows(2, |s| {
        answer(s, Role::Serving, 20, MS, 0);
        for row in s.kernel.http_servers.values_mut() {
            row.outcomes.server_error += 20;
        }
        let refusing = peer(s, CLIENT, far(9), 8080);
        refusing.attempts += 20;
        refusing.refused += 20;
        occur(s, CLIENT, Kind::ConnectFailed, 111, 20);
    });
    assert_eq!(open(&map), ["connection_refused", "http_errors"]);
    assert!(finding(&map, "http_errors").explained_by.is_empty());
}

#[test]
fn errors_of_its_own_came_from_nothing_on_the_way_and_from_no_reset_of_clients() {
    let fails = |s: &mut Snapshot| {
        answer(s, Role::Serving, 20, MS, 0);
        for row in s.kernel.http_servers.values_mut() {
            row.outcomes.server_error += 20;
        }
    };
    let map = World::new().windows(3, |s| {
        fails(s);
        state(s, CLIENT).neighbours.unresolved = vec![neighbour(near(9), true, 500)];
    });
    assert_eq!(open(&map), ["http_errors", "neighbor_unreachable"]);
    assert_eq!(finding(&map, "http_errors").explained_by, [""; 0]);
    let map = World::new().windows(3, |s| {
        fails(s);
        let record = listener_record(s, CLIENT, 80);
        record.times.slots[3] += 100;
        record.sessions_reset += 50;
    });
    assert_eq!(open(&map), ["http_errors", "sessions_reset"]);
    assert_eq!(finding(&map, "http_errors").explained_by, [""; 0]);
    // A way that is gone may be why it fails.
    let map = World::new().windows(3, |s| {
        fails(s);
        mib(s, CLIENT, Mib::IpOutNoRoutes, 10);
    });
    assert_eq!(root(&map), "no_route");
    // Who answers with errors is there.
    let map = World::new().windows(3, |s| {
        answer(s, Role::Asking, 20, MS, 20);
        state(s, CLIENT).neighbours.unresolved = vec![neighbour(near(9), true, 500)];
    });
    assert_eq!(finding(&map, "http_errors").explained_by, [""; 0]);
}

#[test]
fn a_peer_that_was_always_gone_explains_nothing_new() {
    let gone = |s: &mut Snapshot| {
        let scraped = peer(s, CLIENT, far(9), 9100);
        scraped.attempts += 5;
        scraped.timed_out += 5;
        occur(s, CLIENT, Kind::ConnectFailed, 110, 5);
    };
    let mut world = World::new();
    let map = world.windows(70, |s| {
        answer(s, Role::Serving, 20, 5 * MS, 0);
        gone(s);
    });
    assert_eq!(open(&map), ["handshake_timeout"]);
    let map = world.windows(2, |s| {
        wait(s, Role::Serving, 8, 2);
        gone(s);
    });
    assert_eq!(finding(&map, "http_slow").explained_by, [""; 0]);
}

#[test]
fn a_neighbour_that_does_not_answer_explains_the_errors_of_a_proxy() {
    let mut world = World::new();
    let map = world.windows(2, |s| {
        answer(s, Role::Serving, 20, MS, 20);
        state(s, CLIENT).neighbours.unresolved = vec![neighbour(near(9), true, 500)];
    });
    assert_eq!(open(&map), ["http_errors", "neighbor_unreachable"]);
    assert_eq!(root(&map), "neighbor_unreachable");
}

#[test]
fn a_server_that_is_slower_than_usual_is_named() {
    let takes = |ns| move |s: &mut Snapshot| answer(s, Role::Asking, 20, ns, 0);
    let mut world = World::new();
    assert_eq!(open(&world.windows(20, takes(900 * MS))), [""; 0], "always");
    let mut world = World::new();
    world.windows(6, takes(5 * MS));
    assert_eq!(open(&world.windows(5, takes(150 * MS))), [""; 0], "below");
    let map = world.windows(2, takes(400 * MS));
    assert_eq!(open(&map), ["http_slow"]);
    let found = finding(&map, "http_slow");
    assert_eq!((found.severity, found.impact.peers), (Severity::Warn, 1));
    assert_eq!(world.until_calm(takes(5 * MS)), 5);
    assert_eq!(resolved(&world.window(takes(5 * MS))), [""; 0]);
}

/// So many requests to a server wait for so many seconds, and nothing is answered.
fn wait(s: &mut Snapshot, role: Role, count: u64, seconds: u64) {
    let since_ns = s.boot_ns - seconds * SECOND;
    let row: &mut Server = s.kernel.http_servers.entry(key(role)).or_default();
    hang(&mut row.answers, count, since_ns);
}

/// A world in which both servers have answered for some windows.
fn answered() -> World {
    let mut world = World::new();
    world.windows(6, |s| {
        answer(s, Role::Asking, 20, 5 * MS, 0);
        answer(s, Role::Serving, 20, 5 * MS, 0);
    });
    world
}

#[test]
fn a_server_that_answers_no_more_is_named_and_one_that_never_did_is_not() {
    let waits = |count, seconds| move |s: &mut Snapshot| wait(s, Role::Asking, count, seconds);
    assert_eq!(open(&World::new().windows(20, waits(8, 20))), [""; 0]);
    assert_eq!(open(&answered().windows(5, waits(8, 1))), [""; 0], "soon");
    assert_eq!(open(&answered().windows(5, waits(3, 20))), [""; 0], "few");
    let mut world = answered();
    let map = world.windows(2, waits(8, 2));
    assert_eq!(open(&map), ["http_slow"]);
    let found = finding(&map, "http_slow");
    let told = (found.evidence[0].value, found.evidence[2].value);
    assert_eq!(told, ((2 * SECOND) as f64, 8.0));
    assert!(found.summary.contains("no more"), "{}", found.summary);
    assert!(map.verdict.advice[0].text.contains("stopped"));
    let calm = world.until_calm(|s| answer(s, Role::Asking, 20, 5 * MS, 0));
    assert_eq!(calm, 5);
}

#[test]
fn a_server_that_lets_requests_wait_on_purpose_is_not_missed() {
    let silent = |mut world: World| {
        let map = world.windows(5, |s| wait(s, Role::Asking, 8, 30));
        open(&map).len()
    };
    assert_eq!(silent(answered()), 1);
    let mut world = answered();
    world.window(|s| answer(s, Role::Asking, 1, 50 * SECOND, 0));
    assert_eq!(silent(world), 0, "it has answered after 50 seconds");
    let mut world = answered();
    world.window(|s| {
        s.kernel.http_patient.insert(key(Role::Asking));
    });
    assert_eq!(silent(world), 0, "it let one wait for a minute");
    let mut world = answered();
    world.window(|s| {
        let row = s.kernel.http_servers.get_mut(&key(Role::Asking));
        row.expect("it has answered").outcomes.untimed += 1;
    });
    assert_eq!(silent(world), 0, "it is sent uploads");
}

#[test]
fn a_listener_that_answers_at_one_of_its_addresses_is_not_silent() {
    let mut other = key(Role::Serving);
    other.server.address = bytes(Ipv4Addr::LOCALHOST.into()).1;
    let waits = |answers| {
        move |s: &mut Snapshot| {
            wait(s, Role::Serving, 8, 20);
            state(s, CLIENT).listeners.rows =
                vec![listener(Ipv4Addr::UNSPECIFIED.into(), 80, 0, 128)];
            if answers {
                let row = s.kernel.http_servers.entry(other).or_default();
                complete(&mut row.answers, 20, 5 * MS);
            }
        }
    };
    let world = || {
        let mut world = World::new();
        world.windows(6, |s| {
            answer(s, Role::Serving, 20, 5 * MS, 0);
            state(s, CLIENT).listeners.rows =
                vec![listener(Ipv4Addr::UNSPECIFIED.into(), 80, 0, 128)];
        });
        world
    };
    assert_eq!(open(&world().windows(5, waits(true))), [""; 0]);
    assert_eq!(open(&world().windows(5, waits(false))), ["http_slow"]);
}

#[test]
fn an_application_that_reads_nothing_and_a_peer_that_says_nothing_explain_the_silence() {
    let map = answered().windows(2, |s| {
        let since_ns = s.boot_ns - 2 * SECOND;
        hang(&mut requests(s, CLIENT, 80).dwell, 8, since_ns);
        wait(s, Role::Serving, 8, 2);
    });
    assert_eq!(open(&map), ["application_stalled", "http_slow"]);
    assert_eq!(root(&map), "application_stalled");
    let mut world = answered();
    world.windows(6, |s| {
        complete(&mut dependency(s, CLIENT, far(7), 80).answers, 20, 5 * MS);
    });
    let map = world.windows(2, |s| {
        let since_ns = s.boot_ns - 2 * SECOND;
        hang(&mut dependency(s, CLIENT, far(7), 80).answers, 8, since_ns);
        wait(s, Role::Asking, 8, 2);
    });
    assert_eq!(open(&map), ["dependency_slow", "http_slow"]);
    assert_eq!(root(&map), "dependency_slow");
    assert_eq!(map.verdict.other_roots.len(), 0);
}

#[test]
fn a_queue_that_lets_nobody_in_explains_the_silence() {
    let map = answered().windows(3, |s| {
        wait(s, Role::Serving, 8, 2);
        state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, 2, 1)];
        mib(s, CLIENT, Mib::ListenOverflows, 20);
        mib(s, CLIENT, Mib::ListenDrops, 20);
    });
    assert_eq!(open(&map), ["accept_queue_overflow", "http_slow"]);
    assert_eq!(root(&map), "accept_queue_overflow");
    assert_eq!(map.verdict.other_roots.len(), 0);
}

#[test]
fn a_slow_backend_explains_the_slow_answers_of_its_proxy() {
    let takes = |ns: u64| {
        move |s: &mut Snapshot| {
            complete(&mut dependency(s, CLIENT, far(9), 8080).answers, 20, ns);
            let row = requests(s, CLIENT, 80);
            complete(&mut row.dwell, 20, MS / 10);
            complete(&mut row.response, 20, ns + MS);
            answer(s, Role::Serving, 20, ns + MS, 0);
        }
    };
    let mut world = World::new();
    world.windows(6, takes(5 * MS));
    let map = world.windows(2, takes(400 * MS));
    assert_eq!(
        open(&map),
        ["application_slow", "dependency_slow", "http_slow"]
    );
    assert_eq!(root(&map), "dependency_slow");
    assert_eq!(map.verdict.other_roots.len(), 0);
}
