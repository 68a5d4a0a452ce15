//! What devices and their drivers count: errors, drops, allowances.

use super::builder::{CLIENT, ETH0, World, finding, mib, open, root, state, traffic};
use crate::scope::Iface;
use crate::snapshot::{Driver, DriverCounter, Link, LinkStats, Mib, Snapshot};
use crate::verdict::{FaultMap, Severity, VerdictState};

fn eth0(snapshot: &mut Snapshot) -> &mut Link {
    &mut state(snapshot, CLIENT).links[0]
}

/// Frames, and so many of a fault beside them.
fn faulty(field: fn(&mut LinkStats) -> &mut u64, more: u64) -> impl Fn(&mut Snapshot) {
    move |s| {
        traffic(s, CLIENT, 5_000);
        *field(&mut eth0(s).stats) += more;
    }
}

/// eth0 has this driver, and its counters stand at 1000.
fn with_driver(name: &str, counters: &[&str]) -> World {
    let counter = |name: &&str| DriverCounter {
        name: (*name).to_owned(),
        value: 1000,
        queues: Vec::new(),
    };
    let driver = Driver {
        iface: Iface {
            ifindex: ETH0,
            name: "eth0".to_owned(),
        },
        name: name.to_owned(),
        frames: 0,
        counters: counters.iter().map(counter).collect(),
    };
    let mut world = World::new();
    world.window(|s| state(s, CLIENT).drivers.push(driver.clone()));
    world
}

/// The driver is asked after so many frames, and its first counter has grown.
fn count(snapshot: &mut Snapshot, frames: u64, more: u64) {
    let driver = &mut state(snapshot, CLIENT).drivers[0];
    driver.frames += frames;
    driver.counters[0].value += more;
}

#[test]
fn the_queue_that_drops_nearly_all_is_named() {
    let mut world = with_driver("bnxt_en", &["[*]: rx_discards"]);
    let mut fault = |even: bool| {
        world.windows(3, |s| {
            traffic(s, CLIENT, 5_000);
            count(s, 5_000, 100);
            let counter = &mut state(s, CLIENT).drivers[0].counters[0];
            counter.queues.resize(2, (7, 0));
            counter.queues[0] = (3, counter.queues[0].1 + if even { 50 } else { 95 });
            counter.queues[1].1 += if even { 50 } else { 5 };
        })
    };
    let named = |map: &FaultMap| {
        let rows = &finding(map, "link_errors").evidence;
        let row = rows.iter().find(|row| row.signal == "[*]: rx_discards");
        row.expect("the counter")
            .why
            .contains("95 of them in queue 3")
    };
    assert!(named(&fault(false)));
    assert!(!named(&fault(true)));
}

fn counted(map: &FaultMap, id: &str) -> u64 {
    let l1 = map.layers.last().expect("L1");
    let rows = l1.counters.iter().filter(|row| row.id == id);
    rows.map(|row| row.delta).sum()
}

#[test]
fn damaged_frames_are_the_links_fault() {
    let mut world = World::new();
    let bad = faulty(|stats| &mut stats.rx_crc, 11);
    assert_eq!(open(&world.window(&bad)), [""; 0]);
    let map = world.window(&bad);
    assert_eq!(root(&map), "link_errors");
    assert_eq!(finding(&map, "link_errors").severity, Severity::Warn);
    assert!(
        map.verdict
            .summary
            .contains("eth0 in namespace client damages frames: 11 were lost, beside 10000"),
        "{}",
        map.verdict.summary
    );
    let shown = &map.verdict.evidence[0];
    assert_eq!(
        (shown.signal.as_str(), shown.value),
        ("link_physical_errors", 11.0)
    );
    assert_eq!(
        map.verdict.advice[0].confirm,
        "ip netns exec client ip -s -s link show dev eth0"
    );
    assert!(map.verdict.advice[0].text.contains("cable"));
    assert_eq!(world.until_calm(|s| traffic(s, CLIENT, 5_000)), 5);
}

#[test]
fn missed_frames_want_longer_rings() {
    let mut world = World::new();
    let map = world.windows(2, faulty(|stats| &mut stats.rx_missed, 500));
    assert_eq!(root(&map), "link_errors");
    assert!(
        map.verdict.advice[0]
            .change
            .contains("ethtool -G eth0 rx N")
    );
    let mut world = World::new();
    let overrun = faulty(|stats| &mut stats.fifo, 500);
    assert_eq!(root(&world.windows(2, overrun)), "link_errors");
}

#[test]
fn a_few_errors_are_no_fault() {
    let mut world = World::new();
    let few = faulty(|stats| &mut stats.rx_crc, 10);
    assert_eq!(open(&world.windows(10, few)), [""; 0]);
    // Many, and still fewer than one in ten thousand.
    let rare = |s: &mut Snapshot| {
        traffic(s, CLIENT, 60_000);
        eth0(s).stats.rx_crc += 12;
    };
    assert_eq!(open(&world.windows(10, rare)), [""; 0]);
    // Other kinds of errors have other reasons: a wrong length is not the cable's.
    let other = faulty(|stats| &mut stats.rx_errors, 500);
    assert_eq!(open(&world.windows(10, other)), [""; 0]);
}

#[test]
fn a_bond_does_not_repeat_its_members_faults() {
    let mut world = World::new();
    world.window(|s| {
        let mut bond = super::builder::link(9, "bond0");
        bond.kind = Some("bond".to_owned());
        state(s, CLIENT).links.push(bond);
        eth0(s).master = Some(9);
    });
    let bad = faulty(|stats| &mut stats.rx_crc, 30);
    let map = world.windows(2, |s| {
        bad(s);
        let stats = eth0(s).stats;
        state(s, CLIENT).links[1].stats = stats;
    });
    assert_eq!(open(&map), ["link_errors"]);
    assert_eq!(counted(&map, "link_physical_errors"), 30);
}

#[test]
fn a_frame_is_in_one_count_only() {
    let mut world = with_driver("mlx5_core", &["rx_crc_errors_phy", "rx_out_of_buffer"]);
    let map = world.window(|s| {
        traffic(s, CLIENT, 5_000);
        let stats = &mut eth0(s).stats;
        (stats.rx_crc, stats.rx_errors, stats.rx_missed) = (30, 37, 20);
        count(s, 10_000, 30);
        state(s, CLIENT).drivers[0].counters[1].value += 25;
    });
    let ids = ["link_physical_errors", "link_missed", "link_other_errors"];
    assert_eq!(ids.map(|id| counted(&map, id)), [30, 25, 7]);
    assert_eq!(map.layers.last().expect("L1").errors, 62);
}

#[test]
fn drivers_know_of_drops_that_the_kernel_does_not() {
    let mut world = with_driver("mlx5_core", &["rx_discards_phy"]);
    let map = world.windows(2, |s| {
        traffic(s, CLIENT, 5_000);
        count(s, 10_000, 500);
    });
    assert_eq!(root(&map), "link_errors");
    let shown = &map.verdict.evidence[1];
    assert_eq!(
        (shown.signal.as_str(), shown.value),
        ("rx_discards_phy", 500.0)
    );
    assert!(
        shown
            .why
            .starts_with("mlx5_core: Frames that the port dropped")
    );
    assert!(
        map.verdict.advice[0].text.contains("PCIe"),
        "{:?}",
        map.verdict.advice
    );
    // A driver that was not asked for a while: what it counted is held against all frames since.
    let mut world = with_driver("mlx5_core", &["rx_discards_phy"]);
    let rare = |s: &mut Snapshot| {
        traffic(s, CLIENT, 5_000);
        count(s, 1_000_000, 50);
    };
    assert_eq!(open(&world.windows(5, rare)), [""; 0]);
}

#[test]
fn an_unknown_driver_is_shown_and_never_blamed() {
    let mut world = with_driver("new_nic", &["rx_crc_error"]);
    let grow = |s: &mut Snapshot| {
        traffic(s, CLIENT, 5_000);
        count(s, 10_000, 5_000);
    };
    let map = world.windows(10, grow);
    assert_eq!(
        (open(&map).len(), counted(&map, "driver_unknown")),
        (0, 5_000)
    );
    let map = world.windows(2, |s| {
        grow(s);
        eth0(s).stats.rx_missed += 500;
    });
    let shown = &finding(&map, "link_errors").evidence[1];
    assert_eq!(shown.signal, "rx_crc_error");
    assert!(shown.why.ends_with("not known here"));
}

const ALLOWANCES: [&str; 2] = ["bw_in_allowance_exceeded", "conntrack_allowance_exceeded"];

#[test]
fn an_exceeded_allowance_is_named_at_once() {
    let mut world = with_driver("ena", &ALLOWANCES);
    assert_eq!(open(&world.windows(3, |s| count(s, 10_000, 0))), [""; 0]);
    let map = world.window(|s| {
        count(s, 10_000, 120);
        state(s, CLIENT).drivers[0].counters[1].value += 5;
    });
    assert_eq!(root(&map), "cloud_allowance_exceeded");
    assert_eq!(map.verdict.state, VerdictState::Critical);
    assert!(
        map.verdict
            .summary
            .contains("bw_in_allowance_exceeded and 125 packets"),
        "{}",
        map.verdict.summary
    );
    let evidence = &map.verdict.evidence;
    let values: Vec<_> = evidence.iter().map(|row| row.value).collect();
    assert_eq!(values, [125.0, 120.0, 5.0]);
    assert!(map.verdict.advice[0].text.contains("larger instance"));
    assert!(
        map.verdict.advice[0]
            .confirm
            .ends_with("ethtool -S eth0 | grep allowance_exceeded")
    );
    assert_eq!(counted(&map, "allowance_exceeded"), 125);
    assert_eq!(world.until_calm(|s| count(s, 10_000, 0)), 5);
}

#[test]
fn bursts_that_the_cloud_delays_are_normal_life() {
    let mut world = with_driver("ena", &ALLOWANCES);
    assert_eq!(open(&world.windows(5, |s| count(s, 10_000, 9))), [""; 0]);
    assert_eq!(open(&world.windows(5, |s| count(s, 100_000, 50))), [""; 0]);
    let map = world.windows(2, |s| count(s, 10_000, 50));
    assert_eq!(root(&map), "cloud_allowance_exceeded");
    assert_eq!(map.verdict.state, VerdictState::Warn);
}

#[test]
fn loss_behind_an_exceeded_allowance_is_a_symptom() {
    let mut world = with_driver("ena", &ALLOWANCES);
    let map = world.windows(3, |s| {
        traffic(s, CLIENT, 10_000);
        count(s, 20_000, 400);
        mib(s, CLIENT, Mib::TcpRetransSegs, 500);
    });
    assert_eq!(open(&map), ["cloud_allowance_exceeded", "packet_loss"]);
    assert_eq!(root(&map), "cloud_allowance_exceeded");
    assert_eq!(map.verdict.other_roots.len(), 0);
}

#[test]
fn drivers_that_can_not_be_read_blind_what_they_feed_only() {
    let mut world = with_driver("ena", &ALLOWANCES);
    world.blind = vec!["drivers"];
    let map = world.windows(2, |s| {
        count(s, 10_000, 120);
        traffic(s, CLIENT, 5_000);
        eth0(s).stats.rx_crc += 500;
    });
    assert_eq!(open(&map), ["link_errors"]);
    let l1 = map.layers.last().expect("L1");
    assert!(l1.blind.iter().any(|row| row.what == "allowance_exceeded"));
}
