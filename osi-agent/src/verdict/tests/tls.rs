//! L6: servers and clients that do not agree, or do not get on.

use osi_common::handshake::PeerKey;
use osi_common::http::{Outcomes, ServerKey};
use osi_common::occurrence::Kind;
use osi_common::tls::{BY_SERVER, Endpoint, Handshakes};
use osi_common::wire::{Role, TCP};

use super::builder::{
    CLIENT, SECOND, World, bytes, complete, far, finding, hang, listener, near, open, peer, root,
    sample, state,
};
use super::loss_and_delay::resent;
use crate::scope::ScopeKind;
use crate::snapshot::Snapshot;
use crate::verdict::Severity;

const MS: u64 = 1_000_000;

fn endpoint(snapshot: &mut Snapshot, server: PeerKey, role: Role) -> &mut Handshakes {
    let key = Endpoint {
        server,
        role: role as u16,
        transport: TCP.into(),
    };
    snapshot.kernel.endpoints.entry(key).or_default()
}

/// The server that this host asks.
fn asked(snapshot: &mut Snapshot) -> &mut Handshakes {
    let (family, address) = bytes(far(3));
    let server = PeerKey {
        netns: CLIENT,
        family,
        port: 443,
        address,
    };
    endpoint(snapshot, server, Role::Asking)
}

/// Its own port.
fn served(snapshot: &mut Snapshot) -> &mut Handshakes {
    let server = PeerKey {
        netns: CLIENT,
        family: 0,
        port: 443,
        address: [0; 16],
    };
    endpoint(snapshot, server, Role::Serving)
}

/// So many handshakes come to a good end, each after this time.
fn secure(row: &mut Handshakes, count: u64, ns: u64) {
    complete(&mut row.times, count, ns);
    row.outcomes.tls13 += count;
}

/// To so many, the server it asks has said nothing; the oldest is so old.
fn silent(snapshot: &mut Snapshot, count: u64, age_ns: u64) {
    let keys: Vec<_> = snapshot.kernel.endpoints.keys().copied().collect();
    let rows = keys.into_iter().map(|key| (key, (count, age_ns)));
    snapshot.kernel.tls_silent = rows.collect();
}

/// So many end by an alert of the client.
fn refuse(row: &mut Handshakes, count: u64) {
    row.outcomes.client_alert += count;
    row.times.begun += count;
    row.times.ended += count;
    row.times.passed = row.times.begun;
}

#[test]
fn a_server_that_clients_refuse_is_named_with_the_alert_and_the_name() {
    let mut world = World::new();
    let some = |refused| {
        move |s: &mut Snapshot| {
            secure(asked(s), 40, MS);
            refuse(asked(s), refused);
        }
    };
    assert_eq!(open(&world.windows(3, some(1))), [""; 0], "three are few");
    world.windows(10, some(0));
    let rare = |s: &mut Snapshot| {
        secure(asked(s), 96, MS);
        refuse(asked(s), 4);
    };
    assert_eq!(open(&world.windows(5, rare)), [""; 0], "one in 25");
    let map = world.windows(2, |s| {
        some(4)(s);
        let mut seen = sample(CLIENT, Kind::TlsFailed, 48, (far(1), 4711), (far(3), 443));
        seen.name[..7].copy_from_slice(b"www.lab");
        s.samples.push(seen);
    });
    assert_eq!(open(&map), ["tls_handshake_failed"]);
    let found = finding(&map, "tls_handshake_failed");
    assert_eq!(
        (found.severity, found.scope.kind, found.scope.remote),
        (Severity::Critical, ScopeKind::Peer, Some(far(3)))
    );
    assert_eq!(found.evidence[0].signal, "tls_client_alerts");
    assert_eq!(found.evidence[0].why, "alerts of the client: unknown_ca");
    let advice = format!("{:?}", map.verdict.advice);
    assert!(advice.contains("-servername www.lab"), "{advice}");
    assert_eq!(world.until_calm(some(0)), 5);
}

#[test]
fn a_server_of_few_clients_that_refuse_it_is_named_and_a_burst_is_not() {
    let mut world = World::new();
    let one = |s: &mut Snapshot| refuse(served(s), 1);
    let none = |s: &mut Snapshot| {
        state(s, CLIENT).listeners.rows = vec![listener(near(1), 443, 0, 128)];
    };
    world.window(none);
    world.window(|s| refuse(served(s), 20));
    assert_eq!(open(&world.windows(10, none)), [""; 0], "a burst");
    for _ in 0..5 {
        world.window(one);
        world.window(none);
    }
    let map = world.window(one);
    assert_eq!(open(&map), ["tls_handshake_failed"]);
    let found = finding(&map, "tls_handshake_failed");
    assert_eq!(found.scope.port, Some(443));
    assert!(found.summary.contains("100 %"), "{}", found.summary);
    assert!(world.until_calm(none) <= 8);
}

#[test]
fn resets_explain_handshakes_that_end_without_an_alert() {
    for (alerts, explained) in [(0, true), (1, false)] {
        let map = World::new().windows(2, |s| {
            asked(s).outcomes.aborted_answered += 10;
            asked(s).outcomes.client_alert += alerts;
            let outcomes = peer(s, CLIENT, far(3), 443);
            outcomes.attempts += 20;
            outcomes.connected += 20;
            outcomes.sessions_reset += 10;
        });
        assert_eq!(open(&map), ["sessions_reset", "tls_handshake_failed"]);
        let found = finding(&map, "tls_handshake_failed");
        assert_eq!(found.explained_by.len(), usize::from(explained));
        assert_eq!(map.verdict.other_roots.len(), usize::from(!explained));
        if explained {
            assert_eq!(root(&map), "sessions_reset");
        }
    }
}

#[test]
fn a_port_at_which_handshakes_fail_is_named_as_its_listener() {
    let mut world = World::new();
    let map = world.windows(2, |s| {
        state(s, CLIENT).listeners.rows = vec![listener(near(1), 443, 0, 128)];
        served(s).outcomes.server_alert += 5;
        let code = BY_SERVER + 70;
        let seen = sample(
            CLIENT,
            Kind::TlsFailed,
            code,
            (near(1), 443),
            (far(3), 4711),
        );
        s.samples.push(seen);
    });
    let found = finding(&map, "tls_handshake_failed");
    assert_eq!(
        (found.scope.kind, found.scope.local, found.scope.port),
        (ScopeKind::Listener, Some(near(1)), Some(443))
    );
    let why = "alerts of the server: protocol_version";
    assert_eq!(found.evidence[0].why, why);
    assert_eq!(found.severity, Severity::Warn, "a scanner asks for it");
    let map = world.windows(2, |s| served(s).outcomes.client_alert += 5);
    let found = finding(&map, "tls_handshake_failed");
    assert_eq!(found.severity, Severity::Critical, "its clients refuse it");
}

#[test]
fn who_says_hello_to_a_port_and_leaves_is_no_fault_of_it() {
    let leave = |s: &mut Snapshot| {
        state(s, CLIENT).listeners.rows = vec![listener(near(1), 443, 0, 128)];
        served(s).outcomes.aborted_unanswered += 20;
        served(s).outcomes.aborted_answered += 20;
    };
    assert_eq!(open(&World::new().windows(5, leave)), [""; 0]);
    let left = |s: &mut Snapshot| asked(s).outcomes.aborted_answered += 20;
    assert_eq!(
        open(&World::new().windows(2, left)),
        ["tls_handshake_failed"]
    );
}

#[test]
fn handshakes_whose_end_nobody_sees_do_not_stand_still() {
    let pool = |s: &mut Snapshot| {
        let since_ns = s.boot_ns - 5000 * MS;
        hang(&mut asked(s).times, 9, since_ns);
    };
    assert_eq!(open(&World::new().windows(5, pool)), [""; 0]);
}

#[test]
fn handshakes_that_stand_still_are_named_until_they_get_on() {
    let mut world = World::new();
    let stuck = |since_ms: u64, count| {
        move |s: &mut Snapshot| {
            let since_ns = s.boot_ns - since_ms * MS;
            hang(&mut asked(s).times, count, since_ns);
            silent(s, count, since_ms * MS);
        }
    };
    let good = |s: &mut Snapshot| {
        s.kernel.tls_silent.clear();
        let row = asked(s);
        row.times.ended = row.times.begun;
        secure(row, 10, MS);
    };
    world.windows(6, good);
    assert_eq!(open(&world.windows(5, stuck(1900, 9))), [""; 0]);
    assert_eq!(open(&world.windows(5, stuck(5000, 3))), [""; 0]);
    let map = world.windows(2, stuck(5000, 4));
    assert_eq!(open(&map), ["tls_handshake_slow"]);
    let found = finding(&map, "tls_handshake_slow");
    assert!(found.summary.contains("stand still"), "{}", found.summary);
    assert_eq!(world.until_calm(good), 5);
}

#[test]
fn a_server_that_is_slower_than_usual_is_named() {
    let takes = |ns| {
        move |s: &mut Snapshot| {
            secure(asked(s), 20, ns);
        }
    };
    let mut world = World::new();
    assert_eq!(open(&world.windows(20, takes(800 * MS))), [""; 0], "always");
    let mut world = World::new();
    world.windows(6, takes(5 * MS));
    assert_eq!(open(&world.windows(5, takes(150 * MS))), [""; 0], "below");
    let map = world.windows(2, takes(2 * SECOND));
    assert_eq!(
        (open(&map), root(&map)),
        (vec!["tls_handshake_slow"], "tls_handshake_slow")
    );
    assert_eq!(finding(&map, "tls_handshake_slow").impact.peers, 1);
    // All of them are over budget: the layer is as good as shut.
    let layer = map.layers.iter().find(|layer| layer.layer == "L6");
    assert_eq!(layer.and_then(|layer| layer.saturation_ratio), Some(1.0));
    assert_eq!(world.until_calm(takes(5 * MS)), 5);
}

/// What HTTP counts of a server, or of the own port, whose handshakes end well.
fn plain(s: &mut Snapshot, role: Role) -> &mut Outcomes {
    let (at, row) = match role {
        Role::Asking => (far(3), asked(s)),
        Role::Serving => (near(1), served(s)),
    };
    secure(row, 1, MS);
    let (family, address) = bytes(at);
    let server = PeerKey {
        netns: CLIENT,
        family,
        port: 443,
        address,
    };
    let role = role as u32;
    state(s, CLIENT).listeners.rows = vec![listener(near(1), 443, 0, 128)];
    let key = ServerKey { server, role };
    &mut s.kernel.http_servers.entry(key).or_default().outcomes
}

#[test]
fn plain_http_at_a_port_of_tls_is_named_at_once() {
    let refused = |role, count| move |s: &mut Snapshot| plain(s, role).client_error += count;
    let mut world = World::new();
    let map = world.window(|s| {
        refused(Role::Asking, 1)(s);
        let mut seen = sample(
            CLIENT,
            Kind::HttpFailed,
            400,
            (near(1), 4711),
            (far(3), 443),
        );
        seen.name[..5].copy_from_slice(b"GET /");
        s.samples.push(seen);
    });
    assert_eq!(open(&map), ["plaintext_on_tls_port"]);
    let found = finding(&map, "plaintext_on_tls_port");
    assert_eq!(
        (found.severity, found.scope.kind, found.scope.remote),
        (Severity::Warn, ScopeKind::Peer, Some(far(3)))
    );
    let why = &found.evidence[0].why;
    assert!(why.contains("400 for GET /"), "{why}");
    // Others may ask a port of this host like that, now and then.
    let mut world = World::new();
    assert_eq!(open(&world.window(refused(Role::Serving, 3))), [""; 0]);
    let map = world.window(refused(Role::Serving, 4));
    assert_eq!(finding(&map, "plaintext_on_tls_port").scope.port, Some(443));
}

#[test]
fn who_serves_both_or_tls_never_and_who_gives_up_is_none() {
    let answered = |s: &mut Snapshot| {
        let outcomes = plain(s, Role::Serving);
        outcomes.success += 1;
        outcomes.client_error += 20;
        outcomes.no_answer += 20;
    };
    assert_eq!(open(&World::new().windows(3, answered)), [""; 0]);
    let given_up = |s: &mut Snapshot| plain(s, Role::Asking).no_answer += 1;
    assert_eq!(open(&World::new().windows(2, given_up)), [""; 0]);
    let never = |s: &mut Snapshot| {
        plain(s, Role::Asking).client_error += 20;
        *asked(s) = Handshakes::ZERO;
    };
    assert_eq!(open(&World::new().windows(3, never)), [""; 0]);
}

#[test]
fn a_health_check_in_plain_text_is_named_while_it_goes_on() {
    let mut world = World::new();
    let check = |s: &mut Snapshot| plain(s, Role::Serving).client_error += 1;
    let rest = |s: &mut Snapshot| {
        plain(s, Role::Serving);
    };
    for _ in 0..2 {
        assert_eq!(open(&world.window(check)), [""; 0]);
        assert_eq!(open(&world.windows(9, rest)), [""; 0]);
    }
    let map = world.window(check);
    assert_eq!(open(&map), ["plaintext_on_tls_port"]);
    let found = finding(&map, "plaintext_on_tls_port");
    assert!(
        found
            .summary
            .contains("3 requests in the last thirty windows"),
        "{}",
        found.summary
    );
    assert_eq!(open(&world.windows(9, rest)), ["plaintext_on_tls_port"]);
    assert_eq!(open(&world.window(check)), ["plaintext_on_tls_port"]);
    assert!(world.until_calm(rest) > 10);
}

#[test]
fn loss_does_not_explain_what_clients_say_is_wrong() {
    let map = World::new().windows(3, |s| {
        resent(s, 10_000, 500, 0);
        secure(asked(s), 10, MS);
        refuse(asked(s), 10);
    });
    assert_eq!(open(&map), ["packet_loss", "tls_handshake_failed"]);
    assert_eq!(finding(&map, "tls_handshake_failed").explained_by, [""; 0]);
}
