//! Ports, queues, handshakes, loss.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, World, far, finding, listener, mib, near, occur, open, peer, pool, root, sample, state,
    traffic,
};
use crate::scope::ScopeKind;
use crate::snapshot::{Mib, Snapshot};
use crate::verdict::{Confidence, Severity};

#[test]
fn a_refused_port_is_named_with_its_pool_and_process() {
    let mut world = World::new();
    let refused = |s: &mut Snapshot| {
        state(s, CLIENT).pools = vec![pool(far(7), 443, 28_232, 0)];
        let victim = peer(s, CLIENT, far(7), 443);
        victim.attempts += 5;
        victim.port_exhausted += 5;
        occur(s, CLIENT, Kind::PortExhausted, 0, 5);
        s.samples.push(sample(
            CLIENT,
            Kind::PortExhausted,
            0,
            (near(1), 0),
            (far(7), 443),
        ));
    };
    let map = world.window(refused);
    assert_eq!(open(&map), ["ephemeral_ports_exhausted"]);
    let found = finding(&map, "ephemeral_ports_exhausted");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Critical)
    );
    assert_eq!(found.scope.local, Some(near(1)));
    assert!(
        found.summary.contains("192.0.2.7:443") && found.summary.contains("curl (pid 4242)"),
        "{}",
        found.summary
    );
    assert_eq!(map.layers[3].saturation_ratio, Some(1.0));
    assert_eq!(world.until_calm(|s| state(s, CLIENT).pools.clear()), 5);
}

#[test]
fn exhaustion_without_a_peer_has_a_pool_too() {
    let mut world = World::new();
    let map = world.window(|s| occur(s, CLIENT, Kind::PortExhausted, 0, 2));
    assert_eq!(root(&map), "ephemeral_ports_exhausted");
}

#[test]
fn a_pool_warns_at_four_fifths() {
    let mut world = World::new();
    let used =
        |ports| move |s: &mut Snapshot| state(s, CLIENT).pools = vec![pool(far(7), 443, ports, 0)];
    assert_eq!(open(&world.windows(10, used(22_500))), [""; 0]);
    let map = world.window(used(22_700));
    assert_eq!(
        finding(&map, "ephemeral_ports_exhausted").severity,
        Severity::Warn
    );
}

#[test]
fn a_pool_warns_when_it_will_be_full_within_a_minute() {
    let filling = |growth: u64, share: u64| {
        let mut world = World::new();
        (1..=20).any(|n| {
            let used = 14_000 + n * growth;
            let map = world.window(|s| {
                state(s, CLIENT).pools = vec![pool(far(7), 443, used, used * share / 100)];
            });
            used < 22_500 && !map.open.is_empty()
        })
    };
    assert!(filling(300, 0), "held ports: full in a minute");
    assert!(!filling(50, 0), "full in minutes");
    assert!(!filling(300, 90), "TIME_WAIT levels off at 18,000");
    assert!(filling(480, 90), "TIME_WAIT alone would need 28,800");
}

#[test]
fn a_full_listener_that_drops_is_named_at_once() {
    let mut world = World::new();
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let map = world.window(|s| {
        state(s, CLIENT).listeners.rows = vec![listener(any, 80, 2, 1), listener(any, 81, 0, 128)];
        mib(s, CLIENT, Mib::ListenOverflows, 1);
        mib(s, CLIENT, Mib::ListenDrops, 1);
    });
    assert_eq!(open(&map), ["accept_queue_overflow"]);
    let found = finding(&map, "accept_queue_overflow");
    assert_eq!(
        (found.scope.port, found.confidence, found.severity),
        (Some(80), Confidence::Certain, Severity::Critical)
    );
    assert_eq!(map.verdict.cannot_rule_out, [""; 0]);
    let advice = format!("{:?}", map.verdict.advice);
    assert!(
        advice.contains("somaxconn") && advice.contains("ss -Hltn"),
        "{advice}"
    );
    assert_eq!(world.until_calm(|s| state(s, CLIENT).listeners.clear()), 5);
}

#[test]
fn a_full_queue_that_drops_nobody_must_last() {
    let mut world = World::new();
    let queued = |n| {
        move |s: &mut Snapshot| state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, n, 4)]
    };
    assert_eq!(open(&world.windows(10, queued(4))), [""; 0]);
    assert_eq!(open(&world.windows(2, queued(5))), [""; 0]);
    let map = world.window(queued(5));
    assert_eq!(
        finding(&map, "accept_queue_overflow").severity,
        Severity::Warn
    );
}

#[test]
fn overflows_of_an_emptied_queue_need_more_than_a_few() {
    let mut world = World::new();
    let overflow = |n| move |s: &mut Snapshot| mib(s, CLIENT, Mib::ListenOverflows, n);
    assert_eq!(open(&world.windows(10, overflow(3))), [""; 0]);
    let map = world.window(overflow(4));
    assert_eq!(
        finding(&map, "accept_queue_overflow").confidence,
        Confidence::Possible
    );
}

#[test]
fn an_overflow_is_not_pinned_on_who_has_one_waiting() {
    let map = World::new().window(|s| {
        state(s, CLIENT).listeners.rows = vec![
            listener(near(1), 6379, 1, 4096),
            listener(near(1), 80, 0, 128),
        ];
        mib(s, CLIENT, Mib::ListenOverflows, 170);
    });
    let found = finding(&map, "accept_queue_overflow");
    assert_eq!(found.scope.kind, ScopeKind::Netns);
    assert_eq!(found.confidence, Confidence::Possible);
    let map = World::new().window(|s| {
        state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, 65, 128)];
        mib(s, CLIENT, Mib::ListenOverflows, 170);
    });
    let found = finding(&map, "accept_queue_overflow");
    assert_eq!(
        (found.scope.port, found.confidence),
        (Some(80), Confidence::Likely)
    );
}

#[test]
fn localhost_is_tried_in_both_families() {
    let tries = |s: &mut Snapshot, v4: u64| {
        let v6 = peer(s, CLIENT, IpAddr::V6(Ipv6Addr::LOCALHOST), 11_211);
        v6.attempts += 5;
        v6.refused += 5;
        let v4_peer = peer(s, CLIENT, IpAddr::V4(Ipv4Addr::LOCALHOST), 11_211);
        v4_peer.attempts += v4;
        v4_peer.connected += v4;
    };
    assert_eq!(open(&World::new().windows(5, |s| tries(s, 5))), [""; 0]);
    assert_eq!(
        open(&World::new().window(|s| tries(s, 4))),
        ["connection_refused"]
    );
}

fn connects(s: &mut Snapshot, port: u16, connected: u64, refused: u64) {
    let outcome = peer(s, CLIENT, far(7), port);
    outcome.attempts += connected + refused;
    outcome.connected += connected;
    outcome.refused += refused;
}

#[test]
fn a_closed_port_is_named_at_once() {
    let mut world = World::new();
    let map = world.window(|s| connects(s, 81, 0, 4));
    assert_eq!(open(&map), ["connection_refused"]);
    assert_eq!(finding(&map, "connection_refused").severity, Severity::Warn);
    assert_eq!(
        map.verdict.scope.as_ref().and_then(|scope| scope.port),
        Some(81)
    );
    let map = world.windows(3, |s| connects(s, 81, 0, 4));
    assert_eq!(
        finding(&map, "connection_refused").severity,
        Severity::Critical
    );
    assert_eq!(world.until_calm(|_| {}), 5);
}

#[test]
fn three_refusals_or_one_in_twenty_are_no_fault() {
    let mut world = World::new();
    assert_eq!(open(&world.windows(10, |s| connects(s, 81, 0, 3))), [""; 0]);
    assert_eq!(
        open(&world.windows(10, |s| connects(s, 80, 95, 5))),
        [""; 0]
    );
    assert_eq!(
        open(&world.windows(3, |s| connects(s, 80, 90, 10))),
        ["connection_refused"]
    );
}

#[test]
fn silence_is_named_within_five_windows() {
    let mut world = World::new();
    let silence = |s: &mut Snapshot| {
        let victim = peer(s, CLIENT, far(7), 80);
        victim.attempts += 5;
        victim.syn_retransmits += 4;
    };
    assert_eq!(open(&world.window(silence)), [""; 0]);
    let map = world.window(silence);
    assert_eq!(open(&map), ["handshake_timeout"]);
    assert_eq!(
        finding(&map, "handshake_timeout").severity,
        Severity::Critical
    );
    // The last windows' sum may still speak for two more.
    let given_up = |s: &mut Snapshot| peer(s, CLIENT, far(7), 80).abandoned += 10;
    assert!((5..=7).contains(&world.until_calm(given_up)));
}

#[test]
fn one_patient_client_is_enough() {
    let mut world = World::new();
    for second in 0..5_u64 {
        let map = world.window(|s| {
            let victim = peer(s, CLIENT, far(7), 80);
            victim.attempts += u64::from(second % 3 == 0);
            victim.syn_retransmits += 1;
        });
        assert_eq!(map.open.is_empty(), second < 4, "second {second}");
    }
}

#[test]
fn a_single_attempt_or_a_few_late_ones_are_no_fault() {
    let mut world = World::new();
    world.window(|s| peer(s, CLIENT, far(7), 80).attempts += 1);
    assert_eq!(
        open(&world.windows(9, |s| peer(s, CLIENT, far(7), 80).syn_retransmits += 1)),
        [""; 0]
    );
    let busy = |s: &mut Snapshot| {
        let good = peer(s, CLIENT, far(8), 80);
        good.attempts += 1000;
        good.connected += 995;
        good.syn_retransmits += 5;
    };
    assert_eq!(open(&world.windows(10, busy)), [""; 0]);
}

fn resent(s: &mut Snapshot, sent: u64, again: u64) {
    traffic(s, CLIENT, sent);
    mib(s, CLIENT, Mib::TcpRetransSegs, again);
}

#[test]
fn more_loss_than_usual_is_named() {
    let mut world = World::new();
    world.windows(10, |s| resent(s, 10_000, 20));
    assert_eq!(open(&world.window(|s| resent(s, 10_000, 200))), [""; 0]);
    let map = world.window(|s| resent(s, 10_000, 200));
    assert_eq!(root(&map), "packet_loss");
    assert!(
        map.verdict
            .summary
            .contains("2.0 % of its segments again (0.2 % is usual)"),
        "{}",
        map.verdict.summary
    );
    assert_eq!(world.until_calm(|s| resent(s, 10_000, 20)), 5);
}

#[test]
fn loss_that_stays_for_good_becomes_usual_and_not_within_minutes() {
    let mut world = World::new();
    let lossy = |s: &mut Snapshot| resent(s, 50_000, 700);
    assert_eq!(open(&world.windows(600, lossy)), ["packet_loss"]);
    assert_eq!(open(&world.windows(3600, lossy)), [""; 0]);
    // However long it is lost, six in a hundred are never usual.
    world.windows(3600, |s| resent(s, 50_000, 9000));
    assert_eq!(
        open(&world.windows(3, |s| resent(s, 50_000, 9000))),
        ["packet_loss"]
    );
}

#[test]
fn usual_loss_is_no_fault() {
    let mut world = World::new();
    assert_eq!(
        open(&world.windows(20, |s| resent(s, 10_000, 100))),
        [""; 0],
        "1 %"
    );
    assert_eq!(
        open(&world.windows(5, |s| resent(s, 10_000, 250))),
        [""; 0],
        "less than three times that"
    );
    assert_eq!(
        open(&World::new().windows(5, |s| resent(s, 100, 20))),
        [""; 0],
        "20 segments"
    );
}

#[test]
fn handshakes_sent_again_are_not_loss() {
    let mut world = World::new();
    let map = world.windows(5, |s| {
        resent(s, 300, 50);
        mib(s, CLIENT, Mib::TcpSynRetrans, 45);
    });
    assert_eq!(open(&map), [""; 0]);
}
