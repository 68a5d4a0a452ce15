//! Links: down, full.

use osi_common::interface::Traffic;

use super::builder::{CLIENT, World, drop_packets, finding, open, resolved, root, state, traffic};
use crate::snapshot::{InterfaceMaps, Link, Snapshot, Softnet};
use crate::verdict::{Severity, VerdictState};

fn eth0(snapshot: &mut Snapshot) -> &mut Link {
    &mut state(snapshot, CLIENT).links[0]
}

#[test]
fn a_link_of_unknown_speed_shows_what_it_carries_while_packets_wait() {
    let mut world = World::new();
    let window = |world: &mut World, waiting| {
        let map = world.window(|s| {
            traffic(s, CLIENT, 1000);
            let state = state(s, CLIENT);
            state.qdiscs[0].backlog_bytes = waiting;
            state.links[0].speed_bits_per_s = None;
        });
        let rows = &map.layers.last().expect("L1").meters;
        let row = rows.iter().find(|row| row.id == "link_capacity_learned");
        row.map(|row| (row.used, row.ratio))
    };
    let told = [0, 5000, 5000].map(|waiting| window(&mut world, waiting));
    // 1000 frames of 1000 bytes, and 24 bytes each that only the wire sees.
    assert_eq!(told, [None, None, Some((8_192_000.0, None))]);
}

#[test]
fn a_lost_carrier_is_named_at_once_and_as_long_as_it_lasts() {
    let mut world = World::new();
    let map = world.window(|s| eth0(s).carrier = false);
    assert_eq!(root(&map), "link_down");
    assert_eq!(map.verdict.state, VerdictState::Critical);
    assert_eq!(map.verdict.layer.as_deref(), Some("L1"));
    assert!(
        map.verdict.summary.contains("eth0") && map.verdict.summary.contains("client"),
        "{}",
        map.verdict.summary
    );
    assert_eq!(
        map.verdict.advice[0].confirm,
        "ip netns exec client ip -s link show dev eth0"
    );
    assert_eq!(open(&world.windows(100, |_| {})), ["link_down"]);
    assert_eq!(
        open(&world.windows(4, |s| eth0(s).carrier = true)),
        ["link_down"]
    );
    let map = world.window(|_| {});
    assert_eq!((open(&map).len(), resolved(&map)), (0, vec!["link_down"]));
}

#[test]
fn nobody_misses_a_link_that_was_never_used() {
    let mut world = World::new();
    let mut spare = super::builder::link(3, "eth1");
    spare.carrier = false;
    world.window(|s| state(s, CLIENT).links.push(spare.clone()));
    world.window(|s| state(s, CLIENT).links[1].carrier = true);
    assert_eq!(
        open(&world.window(|s| state(s, CLIENT).links[1].carrier = false)),
        [""; 0]
    );
}

#[test]
fn an_empty_bridge_and_a_stopped_container_are_normal_life() {
    for (kind, master) in [("bridge", None), ("veth", Some(9)), ("tun", Some(9))] {
        let mut world = World::new();
        let mut software = super::builder::link(3, "soft0");
        (software.kind, software.master) = (Some(kind.to_owned()), master);
        world.window(|s| {
            let network = crate::snapshot::Route {
                ifindex: Some(3),
                ..state(s, CLIENT).routes[0].clone()
            };
            let state = state(s, CLIENT);
            state.links.push(software.clone());
            state.routes.extend(master.is_none().then_some(network));
        });
        world.windows(3, |s| state(s, CLIENT).links[1].stats.rx_packets += 100);
        assert_eq!(
            open(&world.window(|s| state(s, CLIENT).links[1].carrier = false)),
            [""; 0],
            "{kind}"
        );
    }
}

#[test]
fn a_link_set_down_is_missed_for_a_minute() {
    let mut world = World::new();
    let map = world.window(|s| {
        eth0(s).admin_up = false;
        eth0(s).carrier = false;
        state(s, CLIENT).routes.clear();
    });
    assert_eq!(root(&map), "link_down");
    assert!(map.verdict.summary.contains("was set down"));
    assert_eq!(open(&world.windows(70, |_| {})), [""; 0]);
}

#[test]
fn a_spare_member_of_a_bond_is_a_warning() {
    let mut world = World::new();
    world.window(|s| {
        let mut bond = super::builder::link(9, "bond0");
        bond.kind = Some("bond".to_owned());
        state(s, CLIENT).links.push(bond);
        eth0(s).master = Some(9);
        eth0(s).stats.rx_packets += 100;
    });
    let map = world.window(|s| eth0(s).carrier = false);
    assert_eq!(finding(&map, "link_down").severity, Severity::Warn);
}

#[test]
fn the_uplink_of_a_bridge_has_no_spare() {
    let mut world = World::new();
    world.window(|s| {
        let mut bridge = super::builder::link(9, "br0");
        bridge.kind = Some("bridge".to_owned());
        state(s, CLIENT).links.push(bridge);
        eth0(s).master = Some(9);
        eth0(s).stats.rx_packets += 100;
    });
    let map = world.window(|s| eth0(s).carrier = false);
    assert_eq!(finding(&map, "link_down").severity, Severity::Critical);
}

#[test]
fn a_speed_that_is_exceeded_is_invented() {
    let mut world = World::new();
    let map = world.windows(5, |s| traffic(s, CLIENT, frames_for(1.5)));
    assert_eq!(open(&map), [""; 0]);
    world.window(|s| eth0(s).stated_bits_per_s = eth0(s).speed_bits_per_s);
    let map = world.windows(5, |s| traffic(s, CLIENT, frames_for(1.5)));
    assert_eq!(root(&map), "link_saturated", "the user knows it");
}

#[test]
fn what_passes_a_shaper_by_does_not_fill_it() {
    let mut world = World::new();
    world.window(|s| {
        (eth0(s).kind, eth0(s).speed_bits_per_s) = (Some("veth".to_owned()), None);
        let queue = &mut state(s, CLIENT).qdiscs[0];
        (queue.rate_bits_per_s, queue.shaped_bytes) = (Some(8_000_000), Some(0));
    });
    let shaped = |bytes| {
        move |s: &mut Snapshot| {
            traffic(s, CLIENT, 10_000);
            let passed = &mut state(s, CLIENT).qdiscs[0].shaped_bytes;
            *passed = passed.map(|before| before + bytes);
        }
    };
    assert_eq!(open(&world.windows(5, shaped(500_000))), [""; 0]);
    assert_eq!(root(&world.windows(2, shaped(1_000_000))), "link_saturated");
}

/// Frames of 1000 bytes cost 24 more on the wire.
fn frames_for(ratio: f64) -> u64 {
    (ratio * 1e9 / 8.0 / 1024.0) as u64 + 1
}

#[test]
fn a_full_link_is_named_after_two_of_three_windows() {
    let mut world = World::new();
    let full = |s: &mut Snapshot| traffic(s, CLIENT, frames_for(0.955));
    assert_eq!(open(&world.window(full)), [""; 0]);
    world.window(|_| {});
    let map = world.window(full);
    assert_eq!(root(&map), "link_saturated");
    let l1 = map.layers.last().expect("L1");
    let ratio = l1.saturation_ratio.expect("ratio");
    assert!((0.95..0.96).contains(&ratio), "{ratio}");
    assert_eq!(l1.limiting_meter.as_deref(), Some("link_throughput_rx"));
    assert_eq!(world.until_calm(|_| {}), 5);
}

#[test]
fn a_nearly_full_link_is_no_fault() {
    let mut world = World::new();
    let nearly = |s: &mut Snapshot| traffic(s, CLIENT, frames_for(0.945));
    assert_eq!(open(&world.windows(10, nearly)), [""; 0]);
}

#[test]
fn a_shaper_caps_a_link_without_a_speed() {
    let mut world = World::new();
    world.window(|s| {
        (eth0(s).kind, eth0(s).speed_bits_per_s) = (Some("veth".to_owned()), None);
        state(s, CLIENT).qdiscs[0].rate_bits_per_s = Some(8_000_000);
    });
    // What the shaper let through counts, not what the device saw.
    let map = world.windows(2, |s| traffic(s, CLIENT, 1000));
    assert_eq!(root(&map), "link_saturated");
    assert!(
        map.verdict.summary.contains("sends 8.0 Mbit/s, 100 %"),
        "{}",
        map.verdict.summary
    );
    let mut unshaped = World::new();
    unshaped.window(|s| (eth0(s).kind, eth0(s).speed_bits_per_s) = (Some("veth".to_owned()), None));
    let map = unshaped.windows(5, |s| traffic(s, CLIENT, 10_000_000));
    assert_eq!(
        (open(&map).len(), map.layers[6].saturation_ratio),
        (0, None)
    );
}

fn softnet(snapshot: &mut Snapshot) -> &mut Vec<Softnet> {
    let cpus = &mut snapshot.host.softnet;
    if cpus.is_empty() {
        *cpus = vec![
            Softnet::default(),
            Softnet {
                cpu: 1,
                ..Softnet::default()
            },
        ];
    }
    cpus
}

fn overflow(snapshot: &mut Snapshot, cpu: usize, dropped: u64) {
    softnet(snapshot)[cpu].dropped += dropped;
    softnet(snapshot)[cpu].processed += 1000;
}

#[test]
fn a_full_backlog_is_a_fault_of_the_cpu_that_has_it() {
    let mut world = World::new();
    world.window(|s| overflow(s, 0, 0));
    let map = world.windows(2, |s| overflow(s, 1, 100));
    assert_eq!(root(&map), "rx_backlog_overflow");
    assert!(
        map.verdict
            .summary
            .contains("of CPU 1 is full: 100 packets"),
        "{}",
        map.verdict.summary
    );
    let map = world.windows(2, |s| {
        overflow(s, 0, 50);
        overflow(s, 1, 50);
    });
    assert!(
        map.verdict.summary.contains("of the CPUs is full"),
        "{}",
        map.verdict.summary
    );
    assert_eq!(world.until_calm(|_| {}), 5);
}

/// A CPU's window: so much of a second in softirqs, and so many times its budget ran out.
fn busy(snapshot: &mut Snapshot, cpu: usize, softirq_ticks: u64, squeezed: u64) {
    let row = &mut softnet(snapshot)[cpu];
    row.time.softirq_ticks += softirq_ticks;
    row.time.ticks += 100;
    row.squeezed += squeezed;
}

#[test]
fn a_cpu_that_does_nothing_but_packets_is_the_root_of_its_full_backlog() {
    let mut world = World::new();
    world.window(|s| busy(s, 1, 0, 0));
    let map = world.windows(2, |s| {
        busy(s, 1, 98, 50);
        overflow(s, 1, 100);
    });
    assert_eq!(root(&map), "packet_processing_saturated");
    assert_eq!(
        open(&map),
        ["packet_processing_saturated", "rx_backlog_overflow"]
    );
    assert_eq!(
        map.verdict.summary,
        "CPU 1 is busy with packets 98 % of its time and leaves some undone: 100 packets were dropped."
    );
    assert_eq!(
        finding(&map, "packet_processing_saturated").severity,
        Severity::Critical
    );
    assert_eq!(map.layers[4].saturation_ratio, Some(0.98));
    assert_eq!(world.until_calm(|s| busy(s, 1, 20, 5)), 5);
}

/// Four ticks of a second that a hypervisor took nearly whole are no measure.
#[test]
fn a_cpu_without_time_is_not_rated() {
    let mut world = World::new();
    world.window(|s| busy(s, 0, 0, 0));
    let spent = |ticks: u64| {
        move |s: &mut Snapshot| {
            busy(s, 0, ticks, 50);
            softnet(s)[0].time.ticks -= 100 - ticks;
        }
    };
    assert_eq!(open(&world.windows(5, spent(4))), [""; 0]);
    assert_eq!(
        open(&world.windows(2, spent(50))),
        ["packet_processing_saturated"]
    );
}

#[test]
fn a_busy_cpu_that_keeps_up_is_no_fault() {
    let mut world = World::new();
    world.window(|s| busy(s, 0, 0, 0));
    let map = world.windows(3, |s| busy(s, 0, 98, 50));
    assert_eq!(
        finding(&map, "packet_processing_saturated").severity,
        Severity::Warn
    );
    let mut world = World::new();
    world.window(|s| busy(s, 0, 0, 0));
    assert_eq!(
        open(&world.windows(5, |s| busy(s, 0, 100, 2))),
        [""; 0],
        "other softirqs"
    );
    assert_eq!(
        open(&world.windows(5, |s| busy(s, 0, 90, 50))),
        [""; 0],
        "time is left"
    );
}

#[test]
fn a_few_packets_are_no_overflow() {
    let mut world = World::new();
    world.window(|s| overflow(s, 0, 0));
    assert_eq!(open(&world.windows(3, |s| overflow(s, 0, 10))), [""; 0]);
    let few = |s: &mut Snapshot| {
        overflow(s, 0, 20);
        softnet(s)[0].processed += 50_000;
    };
    assert_eq!(open(&world.windows(3, few)), [""; 0]);
}

#[test]
fn the_backlog_of_others_is_not_the_fault_of_a_namespace_watched_alone() {
    let mut world = World::new();
    world.single_netns = true;
    world.window(|s| overflow(s, 0, 0));
    assert_eq!(open(&world.windows(3, |s| overflow(s, 0, 100))), [""; 0]);
    let map = world.windows(2, |s| {
        overflow(s, 0, 100);
        drop_packets(s, CLIENT, "CPU_BACKLOG", "enqueue_to_backlog", 40);
    });
    assert_eq!(open(&map), ["rx_backlog_overflow"]);
}

/// So many packets were handed over in 1 ms, and the queue dropped so many of a thousand; the link carries 1 Gbit/s.
fn burst(s: &mut Snapshot, milliseconds_worth: f64, dropped: u64) {
    traffic(s, CLIENT, 1000);
    let state = state(s, CLIENT);
    state.qdiscs[0].drops += dropped;
    let (netns, iface) = (state.netns.clone(), state.links[0].iface.clone());
    s.kernel.interfaces = vec![InterfaceMaps {
        netns,
        iface,
        attachment: 1,
        rx: Traffic::default(),
        tx: Traffic::default(),
        rx_peak_ms_bytes: 0,
        tx_peak_ms_bytes: (milliseconds_worth * 125_000.0) as u64,
        frames: None,
    }];
}

#[test]
fn a_burst_that_the_link_does_not_take_is_the_root_of_its_queues_drops() {
    let mut world = World::new();
    world.window(|s| burst(s, 0.0, 0));
    let map = world.windows(2, |s| burst(s, 3.0, 50));
    assert_eq!(root(&map), "link_microburst");
    assert_eq!(open(&map), ["egress_queue_overflow", "link_microburst"]);
    let summary = &finding(&map, "link_microburst").summary;
    assert!(
        summary.contains("3.0 Gbit/s") && summary.contains("50 packets"),
        "{summary}"
    );
    assert_eq!(world.until_calm(|s| burst(s, 0.0, 0)), 5);
}

#[test]
fn a_burst_that_the_queue_takes_is_none_and_drops_without_one_are_the_queues() {
    let mut world = World::new();
    world.window(|s| burst(s, 0.0, 0));
    assert_eq!(open(&world.windows(5, |s| burst(s, 3.0, 0))), [""; 0]);
    let map = world.windows(2, |s| burst(s, 0.5, 50));
    assert_eq!(open(&map), ["egress_queue_overflow"]);
}
