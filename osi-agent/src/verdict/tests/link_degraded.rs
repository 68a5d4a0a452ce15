//! Links that work worse than they could: they flap, run in a lesser mode, or a bond lacks a member.

use super::builder::{CLIENT, SECOND, World, link, open, resolved, root, state};
use crate::snapshot::{Link, LinkMode, Snapshot};
use crate::verdict::VerdictState;

fn eth0(snapshot: &mut Snapshot) -> &mut Link {
    &mut state(snapshot, CLIENT).links[0]
}

/// The carrier goes and comes back within the window.
fn flap(snapshot: &mut Snapshot) {
    eth0(snapshot).carrier_changes += 2;
}

#[test]
fn a_link_that_loses_its_carrier_again_and_again_flaps() {
    let mut world = World::new();
    assert_eq!(open(&world.window(flap)), [""; 0]);
    world.windows(3, |_| {});
    let map = world.window(flap);
    assert_eq!(root(&map), "link_degraded");
    assert!(
        map.verdict
            .summary
            .contains("came or went 4 times within 60 s")
    );
    let shown = &map.verdict.evidence[0];
    assert_eq!(
        (shown.signal.as_str(), shown.value),
        ("carrier_changes", 4.0)
    );
    // Over when it has been quiet for longer than such changes usually are apart, plus five windows.
    assert_eq!(world.until_calm(|_| {}), 20);
}

#[test]
fn a_flapping_link_that_is_down_is_one_story() {
    let mut world = World::new();
    let down = |s: &mut Snapshot| {
        eth0(s).carrier = false;
        eth0(s).carrier_changes += 1;
    };
    let up = |s: &mut Snapshot| {
        eth0(s).carrier = true;
        eth0(s).carrier_changes += 1;
    };
    assert_eq!(root(&world.window(down)), "link_down");
    world.window(up);
    assert_eq!(root(&world.window(down)), "link_down");
    let map = world.window(up);
    assert_eq!(open(&map), ["link_degraded", "link_down"]);
    assert_eq!(
        (root(&map), map.verdict.other_roots.len()),
        ("link_degraded", 0)
    );
    assert_eq!(map.verdict.state, VerdictState::Critical);
    // It stays down: that is what there is to say in the end.
    let map = world.window(down);
    assert_eq!(root(&map), "link_degraded");
    assert_eq!(root(&world.windows(30, |_| {})), "link_down");
}

#[test]
fn one_loss_of_the_carrier_is_a_reboot_at_the_other_end() {
    let mut world = World::new();
    for _ in 0..5 {
        assert_eq!(open(&world.window(flap)), [""; 0]);
        world.now.boot_ns += 61 * SECOND;
    }
    // Neither is a link that is set down and up here.
    let mut world = World::new();
    for _ in 0..5 {
        world.window(|s| {
            (eth0(s).admin_up, eth0(s).carrier) = (false, false);
            eth0(s).carrier_changes += 1;
        });
        let map = world.window(|s| {
            (eth0(s).admin_up, eth0(s).carrier) = (true, true);
            eth0(s).carrier_changes += 1;
        });
        assert!(!open(&map).contains(&"link_degraded"));
    }
}

fn mode(bits_per_s: u64, full_duplex: bool) -> LinkMode {
    LinkMode {
        bits_per_s,
        full_duplex,
        advertised: true,
    }
}

#[test]
fn a_link_below_what_both_ends_support_is_degraded() {
    let mut world = World::new();
    let map = world.window(|s| {
        eth0(s).speed_bits_per_s = Some(100_000_000);
        eth0(s).best = Some(mode(1_000_000_000, true));
    });
    assert_eq!(root(&map), "link_degraded");
    assert!(
        map.verdict
            .summary
            .contains("runs at 100.0 Mbit/s of 1.0 Gbit/s that both ends support and offer"),
        "{}",
        map.verdict.summary
    );
    let map = world.window(|s| {
        eth0(s).full_duplex = Some(false);
        eth0(s).best = Some(mode(100_000_000, true));
    });
    assert!(
        map.verdict.summary.contains("half duplex"),
        "{}",
        map.verdict.summary
    );
    let map = world.windows(5, |s| eth0(s).full_duplex = Some(true));
    assert_eq!(
        (open(&map).len(), resolved(&map)),
        (0, vec!["link_degraded"])
    );
}

#[test]
fn a_partner_that_can_no_more_is_nobodys_fault() {
    let mut world = World::new();
    let map = world.windows(3, |s| {
        eth0(s).speed_bits_per_s = Some(100_000_000);
        eth0(s).best = Some(mode(100_000_000, true));
    });
    assert_eq!(open(&map), [""; 0]);
    // An old hub: half duplex is all there is.
    let map = world.windows(3, |s| {
        eth0(s).full_duplex = Some(false);
        eth0(s).best = Some(mode(100_000_000, false));
    });
    assert_eq!(open(&map), [""; 0]);
    // A port that nobody uses.
    let mut spare = link(3, "eth1");
    spare.speed_bits_per_s = Some(10_000_000);
    spare.best = Some(mode(1_000_000_000, true));
    let map = world.windows(3, |s| {
        state(s, CLIENT).links.truncate(1);
        state(s, CLIENT).links.push(spare.clone());
    });
    assert_eq!(open(&map), [""; 0]);
}

/// eth0 belongs to a bond that works; its carrier is gone.
fn bond(kind: &str, works: bool) -> World {
    let mut world = World::new();
    world.window(|s| {
        let mut bond = link(9, "bond0");
        (bond.kind, bond.carrier) = (Some(kind.to_owned()), works);
        state(s, CLIENT).links.push(bond);
        eth0(s).master = Some(9);
        eth0(s).stats.rx_packets += 100;
    });
    world
}

#[test]
fn a_bond_without_a_member_is_degraded() {
    let mut world = bond("bond", true);
    let map = world.window(|s| eth0(s).carrier = false);
    assert_eq!(root(&map), "link_degraded");
    assert_eq!(map.verdict.state, VerdictState::Warn);
    assert!(
        map.verdict
            .summary
            .starts_with("Bond bond0 in namespace client works without its member eth0"),
        "{}",
        map.verdict.summary
    );
    assert_eq!((open(&map).len(), map.verdict.other_roots.len()), (2, 0));
    for (kind, works) in [("bond", false), ("bridge", true)] {
        let map = bond(kind, works).window(|s| eth0(s).carrier = false);
        assert!(!open(&map).contains(&"link_degraded"), "{kind}");
    }
    // Whoever sets a member down, means it.
    let map = bond("bond", true).window(|s| {
        (eth0(s).admin_up, eth0(s).carrier) = (false, false);
    });
    assert!(!open(&map).contains(&"link_degraded"));
}
