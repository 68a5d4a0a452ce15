//! What ICMP says of this host's packets.

use core::net::IpAddr;

use osi_common::icmp;
use osi_common::occurrence::{Key, Kind, Sample};

use super::builder::{
    CLIENT, ETH0, World, far, finding, link, near, open, peer, root, sample, state, traffic,
};
use crate::snapshot::Snapshot;
use crate::verdict::{Confidence, Severity};

const HOST_UNREACHABLE: (u8, u8) = (3, 1);
const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const PROHIBITED: (u8, u8) = (3, 13);
const EXPIRED: (u8, u8) = (11, 0);
const LO: u32 = 1;
const ROUTER: u8 = 254;

/// A message that came in: who says what of a datagram with these ports to this address.
struct Answer {
    says: (u8, u8),
    sender: IpAddr,
    to: IpAddr,
    ports: (u16, u16),
    ifindex: u32,
}

impl Answer {
    fn of_the_router(says: (u8, u8), to: IpAddr) -> Self {
        Self {
            says,
            sender: near(ROUTER),
            to,
            ports: (40_000, 53),
            ifindex: ETH0,
        }
    }

    fn number(&self) -> u32 {
        icmp::number(false, self.says.0, self.says.1).expect("an error")
    }

    fn sample(&self) -> Sample {
        let (from, to) = ((near(1), self.ports.0), (self.to, self.ports.1));
        let mut seen = sample(CLIENT, Kind::IcmpErrorReceived, self.number(), from, to);
        let IpAddr::V4(sender) = self.sender else {
            panic!("IPv4")
        };
        seen.sender[..4].copy_from_slice(&sender.octets());
        (seen.protocol, seen.key.ifindex) = (17, self.ifindex);
        seen
    }

    /// It comes in so often, and so often it stays here.
    fn comes(&self, snapshot: &mut Snapshot, seen: u64, taken: u64) {
        let key = self.sample().key;
        let on = Key {
            kind: Kind::IcmpErrorForwarded as u32,
            ifindex: ETH0 + 1,
            ..key
        };
        for (key, count) in [(key, seen), (on, seen - taken)] {
            snapshot.kernel.occurrences.entry(key).or_default().count += count;
        }
        let examples = (0..seen.min(4)).map(|_| self.sample());
        snapshot.samples.extend(examples);
    }
}

#[test]
fn a_router_that_answers_for_a_destination_is_named() {
    let mut world = World::new();
    let map = world.window(|s| {
        traffic(s, CLIENT, 20);
        Answer::of_the_router(HOST_UNREACHABLE, far(9)).comes(s, 6, 6);
    });
    assert_eq!(root(&map), "destination_unreachable");
    let found = finding(&map, "destination_unreachable");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Certain, Severity::Warn),
        "no connect fails"
    );
    assert_eq!(found.scope.remote, Some(far(9)));
    assert_eq!(
        found.summary,
        "192.0.2.9 (UDP port 53) can not be reached in namespace client, 10.0.0.254 on the way answers: \
         host unreachable; 6 packets came back."
    );
    assert!((found.evidence[0].value - 6.0).abs() < 1e-9);
    assert_eq!(
        map.verdict.advice[0].confirm,
        "ip netns exec client ip route get 192.0.2.9"
    );
    assert_eq!(world.until_calm(|_| {}), 5);
}

#[test]
fn one_message_now_and_then_adds_up() {
    let one = |s: &mut Snapshot| Answer::of_the_router(PROHIBITED, far(9)).comes(s, 1, 1);
    let mut world = World::new();
    for _ in 0..3 {
        assert_eq!(open(&world.window(one)), [""; 0]);
        world.window(|_| {});
    }
    assert_eq!(open(&world.window(one)), ["destination_unreachable"]);
    world.windows(4, |_| {});
    assert_eq!(open(&world.window(one)), ["destination_unreachable"]);
    assert_eq!(world.until_calm(|_| {}), 5);
    // Seldom enough, it is a destination that is tried in vain once in a while.
    for _ in 0..10 {
        assert_eq!(open(&world.window(one)), [""; 0]);
        world.windows(4, |_| {});
    }
}

#[test]
fn one_message_names_whoever_keeps_all_connects_from_it() {
    let mut world = World::new();
    let map = world.window(|s| {
        Answer::of_the_router(HOST_UNREACHABLE, far(9)).comes(s, 1, 1);
        let outcomes = peer(s, CLIENT, far(9), 443);
        outcomes.attempts += 4;
        outcomes.unreachable += 1;
    });
    assert_eq!(open(&map), ["destination_unreachable"]);
    let found = finding(&map, "destination_unreachable");
    assert_eq!(found.severity, Severity::Critical);
}

#[test]
fn where_some_get_through_it_is_a_warning() {
    let mut world = World::new();
    let map = world.window(|s| {
        Answer::of_the_router(PROHIBITED, far(9)).comes(s, 5, 5);
        let outcomes = peer(s, CLIENT, far(9), 443);
        outcomes.attempts += 10;
        outcomes.connected += 5;
    });
    let found = finding(&map, "destination_unreachable");
    assert_eq!(found.severity, Severity::Warn);
    assert!((found.impact.share_ratio - 0.5).abs() < 1e-9);
}

#[test]
fn hanging_connects_to_it_are_its_symptom() {
    let mut world = World::new();
    let map = world.windows(3, |s| {
        Answer::of_the_router(HOST_UNREACHABLE, far(9)).comes(s, 6, 6);
        let outcomes = peer(s, CLIENT, far(9), 443);
        outcomes.attempts += 20;
        outcomes.unreachable += 6;
        outcomes.syn_retransmits += 14;
        outcomes.timed_out += 14;
    });
    assert_eq!(root(&map), "destination_unreachable");
    assert_eq!(
        open(&map),
        ["destination_unreachable", "handshake_timeout"],
        "the router answers a few packets a second"
    );
    assert!(map.verdict.other_roots.is_empty());
}

#[test]
fn between_two_tries_of_a_handshake_it_holds() {
    let mut world = World::new();
    let hanging = |s: &mut Snapshot| {
        let outcomes = peer(s, CLIENT, far(9), 443);
        outcomes.attempts += 10;
        outcomes.syn_retransmits += 20;
    };
    let told = |s: &mut Snapshot| Answer::of_the_router(HOST_UNREACHABLE, far(9)).comes(s, 6, 6);
    world.windows(3, |s| (told(s), hanging(s)).0);
    // The next tries are six windows away, and the router answers some of them.
    for _ in 0..2 {
        let map = world.windows(6, |_| {});
        assert_eq!(root(&map), "destination_unreachable");
        world.window(|s| (told(s), hanging(s)).0);
    }
    let all_give_up = |s: &mut Snapshot| peer(s, CLIENT, far(9), 443).abandoned += 100;
    assert_eq!(world.until_calm(all_give_up), 7);
    // A router falls silent while the tries go on.
    world.windows(3, |s| (told(s), hanging(s)).0);
    let map = world.windows(20, hanging);
    assert_eq!(root(&map), "destination_unreachable");
    // Who waits for less than a second sends no SYN again.
    let given_up = |s: &mut Snapshot| {
        let outcomes = peer(s, CLIENT, far(9), 443);
        outcomes.attempts += 4;
        outcomes.abandoned += 4;
    };
    let map = world.windows(20, given_up);
    assert_eq!(root(&map), "destination_unreachable");
    // Where one gets through, or nobody tries any more, it is past.
    let arrives = |s: &mut Snapshot| (hanging(s), peer(s, CLIENT, far(9), 443).connected += 1).1;
    world.windows(10, arrives);
    let map = world.windows(2, arrives);
    assert!(!open(&map).contains(&"destination_unreachable"));
}

#[test]
fn what_was_said_before_connects_hang_counts() {
    let mut world = World::new();
    let map = world.window(|s| Answer::of_the_router(HOST_UNREACHABLE, far(9)).comes(s, 2, 2));
    assert_eq!(open(&map), [""; 0]);
    let map = world.windows(2, |s| {
        let outcomes = peer(s, CLIENT, far(9), 443);
        outcomes.attempts += 10;
        outcomes.syn_retransmits += 20;
    });
    assert_eq!(root(&map), "destination_unreachable");
}

#[test]
fn closed_ports_and_what_this_host_tells_itself_are_calm() {
    let mut world = World::new();
    world.window(|s| {
        let mut lo = link(LO, "lo");
        lo.loopback = true;
        state(s, CLIENT).links.push(lo);
    });
    let map = world.windows(5, |s| {
        Answer::of_the_router(PORT_UNREACHABLE, far(9)).comes(s, 100, 100);
        let own = Answer {
            sender: near(1),
            ifindex: LO,
            ..Answer::of_the_router(HOST_UNREACHABLE, near(9))
        };
        own.comes(s, 100, 100);
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn what_a_router_hands_on_is_not_its_own() {
    let mut world = World::new();
    let map = world.windows(5, |s| {
        Answer::of_the_router(PORT_UNREACHABLE, far(8)).comes(s, 10, 10);
        Answer::of_the_router(HOST_UNREACHABLE, far(9)).comes(s, 100, 0);
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn what_a_gateway_hands_on_to_a_container_answers_the_container() {
    let mut world = World::new();
    let not_ours = |s: &mut Snapshot| {
        let answer = Answer::of_the_router(HOST_UNREACHABLE, far(9));
        answer.comes(s, 2, 0);
        for seen in &mut s.samples {
            seen.local[3] = 77;
        }
        // One of this host's own, so that not all are handed on.
        Answer::of_the_router(HOST_UNREACHABLE, far(8)).comes(s, 1, 1);
    };
    let map = world.windows(5, not_ours);
    assert_eq!(open(&map), ["destination_unreachable"]);
    let found = finding(&map, "destination_unreachable");
    assert_eq!(found.scope.remote, Some(far(8)), "{}", found.summary);
    let mut world = World::new();
    // Where addresses are translated, they seem to be the gateway's.
    let translated = |s: &mut Snapshot| Answer::of_the_router(PROHIBITED, far(9)).comes(s, 2, 0);
    assert_eq!(open(&world.windows(8, translated)), [""; 0]);
}

#[test]
fn who_talks_to_everybody_finds_some_gone() {
    let mut world = World::new();
    for round in 0..5 {
        let map = world.window(|s| {
            traffic(s, CLIENT, 1000);
            for last in 0..8 {
                Answer::of_the_router(HOST_UNREACHABLE, far(round * 8 + last)).comes(s, 1, 1);
            }
        });
        assert_eq!(open(&map), [""; 0]);
    }
    let map = world.windows(5, |s| {
        traffic(s, CLIENT, 50_000);
        Answer::of_the_router(HOST_UNREACHABLE, far(9)).comes(s, 40, 40);
    });
    assert_eq!(open(&map), [""; 0], "a small share");
}

#[test]
fn a_router_that_has_no_hop_left_again_and_again_is_in_a_loop() {
    let mut world = World::new();
    let map = world.window(|s| Answer::of_the_router(EXPIRED, far(9)).comes(s, 6, 6));
    assert_eq!(root(&map), "routing_loop");
    let found = finding(&map, "routing_loop");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Likely, Severity::Critical)
    );
    assert_eq!(found.scope.remote, Some(far(9)));
    assert!(found.summary.contains("10.0.0.254"), "{}", found.summary);
    let one = |s: &mut Snapshot| Answer::of_the_router(EXPIRED, far(9)).comes(s, 1, 1);
    assert_eq!(open(&world.windows(10, one)), ["routing_loop"]);
}

#[test]
fn what_the_first_router_ends_may_have_begun_with_one_hop() {
    let mut world = World::new();
    world.window(|s| state(s, CLIENT).routes[1].gateway = Some(near(ROUTER)));
    let map = world.window(|s| Answer::of_the_router(EXPIRED, far(9)).comes(s, 6, 6));
    let found = finding(&map, "routing_loop");
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Possible, Severity::Warn)
    );
}

#[test]
fn connects_that_end_in_a_loop_are_its_sign() {
    let mut world = World::new();
    let map = world.window(|s| {
        for port in 0..3 {
            let answer = Answer {
                ports: (40_000 + port, 443),
                ..Answer::of_the_router(EXPIRED, far(9))
            };
            answer.comes(s, 1, 1);
        }
        let outcomes = peer(s, CLIENT, far(9), 443);
        outcomes.attempts += 3;
        outcomes.unreachable += 3;
    });
    assert_eq!(open(&map), ["routing_loop"]);
}

#[test]
fn whoever_traces_a_route_gets_such_messages() {
    let mut world = World::new();
    // One after the other, a new port with each probe; and without ports, from one router all the time.
    let map = world.windows(5, |s| {
        for probe in 0..9 {
            let answer = Answer {
                sender: near(ROUTER - probe / 3),
                ports: (40_000, 33_434 + u16::from(probe)),
                ..Answer::of_the_router(EXPIRED, far(9))
            };
            answer.comes(s, 1, 1);
        }
        let echo = Answer {
            ports: (0, 0),
            ..Answer::of_the_router(EXPIRED, far(8))
        };
        echo.comes(s, 10, 10);
    });
    assert_eq!(open(&map), [""; 0]);
}
