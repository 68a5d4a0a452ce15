//! L6: servers that do not answer over UDP.

use osi_common::handshake::PeerKey;
use osi_common::tls::{Endpoint, Handshakes};
use osi_common::wire::{Role, TCP, UDP};

use super::builder::{CLIENT, World, bytes, complete, far, finding, hang, mib, open};
use crate::scope::ScopeKind;
use crate::snapshot::{Mib, Snapshot};
use crate::verdict::Severity;

const MS: u64 = 1_000_000;

fn key(transport: u8, role: Role) -> Endpoint {
    let (family, address) = bytes(far(3));
    Endpoint {
        server: PeerKey {
            netns: CLIENT,
            family,
            port: 443,
            address,
        },
        role: role as u16,
        transport: transport.into(),
    }
}

fn row(snapshot: &mut Snapshot, key: Endpoint) -> &mut Handshakes {
    snapshot.kernel.endpoints.entry(key).or_default()
}

/// So many handshakes have no answer, the oldest for so long.
fn silent(role: Role, count: u64, since_ms: u64) -> impl Fn(&mut Snapshot) {
    move |s| {
        let (key, since_ns) = (key(UDP, role), s.boot_ns - since_ms * MS);
        hang(&mut row(s, key).times, count, since_ns);
        s.kernel.tls_silent.insert(key, (count, since_ms * MS));
    }
}

fn answered(s: &mut Snapshot) {
    s.kernel.tls_silent.clear();
    let row = row(s, key(UDP, Role::Asking));
    row.times.ended = row.times.begun;
    complete(&mut row.times, 10, MS);
    row.outcomes.quic_v1 += 10;
}

#[test]
fn a_server_that_answers_over_tcp_alone_is_named_until_it_answers() {
    let mut world = World::new();
    world.windows(3, answered);
    let asking = |count, ms| silent(Role::Asking, count, ms);
    assert_eq!(open(&world.windows(5, asking(3, 5000))), [""; 0], "three");
    assert_eq!(
        open(&world.windows(5, asking(9, 1900))),
        [""; 0],
        "too soon"
    );
    let map = world.windows(2, |s| {
        asking(4, 5000)(s);
        row(s, key(TCP, Role::Asking)).outcomes.tls13 += 7;
    });
    assert_eq!(open(&map), ["quic_unanswered"]);
    let found = finding(&map, "quic_unanswered");
    assert_eq!(
        (found.severity, found.scope.kind, found.scope.remote),
        (Severity::Warn, ScopeKind::Peer, Some(far(3)))
    );
    assert!(
        found.summary.contains("4 in a row") && found.summary.contains("over TCP it does"),
        "{}",
        found.summary
    );
    let advice = format!("{:?}", map.verdict.advice);
    assert!(advice.contains("lets no UDP through"), "{advice}");
    world.windows(6, asking(4, 20_000));
    let map = world.window(asking(4, 20_000));
    assert_eq!(finding(&map, "quic_unanswered").severity, Severity::Warn);
    assert_eq!(world.until_calm(answered), 5);
}

/// A router may see what goes to a server and not what comes back.
#[test]
fn a_way_of_one_direction_is_no_fault() {
    let forwarded = |s: &mut Snapshot| {
        mib(s, CLIENT, Mib::IpForwDatagrams, 100);
        silent(Role::Asking, 4, 5000)(s);
    };
    assert_eq!(open(&World::new().windows(5, forwarded)), [""; 0]);
    let mut world = World::new();
    world.windows(3, answered);
    assert_eq!(open(&world.windows(5, forwarded)), ["quic_unanswered"]);
}

#[test]
fn who_gave_up_half_a_minute_ago_and_who_asks_this_host_are_no_fault() {
    let given_up = |s: &mut Snapshot| {
        let row = row(s, key(UDP, Role::Asking));
        row.outcomes.no_answer += 20;
        row.times.begun += 20;
        row.times.ended += 20;
    };
    assert_eq!(open(&World::new().windows(5, given_up)), [""; 0]);
    let served = silent(Role::Serving, 20, 5000);
    assert_eq!(open(&World::new().windows(5, served)), [""; 0]);
}
