//! Port pools: how they fill, who holds them, and those of UDP.

use osi_common::histogram::LatencyHistogram;
use osi_common::latency::{LATENCIES, Latency};

use super::builder::{CLIENT, World, far, finding, open, peer, pool, root, state};
use crate::host::holders::SocketHolder;
use crate::host::workload::Workload;
use crate::scope::{Process, Proto};
use crate::snapshot::{Snapshot, SocketHolders, UdpPorts};
use crate::verdict::{Confidence, FaultMap, Severity};

const CAUSE: &str = "ephemeral_ports_exhausted";
const USABLE: u64 = 28_232;

fn held(sockets: u64) -> SocketHolders {
    let process = Process {
        pid: 4711,
        start_time: 1,
        comm: "haproxy".to_owned(),
        cgroup: Some("/system.slice/haproxy.service".to_owned()),
        workload: Workload::default(),
    };
    SocketHolders {
        processes: vec![SocketHolder { process, sockets }],
        nobody: 40,
        unknown: 0,
        unsearched: 0,
    }
}

fn udp(used: u64) -> impl Fn(&mut Snapshot) {
    move |s| {
        state(s, CLIENT).udp_ports = Some(UdpPorts {
            used,
            usable: USABLE,
            most: Some((far(1), used)),
            holders: Some(held(used)),
        });
    }
}

/// Seconds until it is full, as told after these values, one a second, and as it turns out.
fn told_and_true(used: impl Fn(u64) -> u64, until: u64) -> (Option<f64>, f64) {
    let mut world = World::new();
    let mut map: Option<FaultMap> = None;
    for second in 0..=until {
        let used = used(second);
        map = Some(world.window(|s| state(s, CLIENT).pools = vec![pool(far(7), 443, used, 0)]));
    }
    let map = map.expect("window");
    let row = map.layers[3].meters.iter();
    let row = row
        .filter(|row| row.id == "ephemeral_ports")
        .find_map(|row| row.time_to_full_ns);
    let full = (until..until + 10_000).find(|second| used(*second) >= USABLE);
    (
        row.map(|ns| ns as f64 / 1e9),
        full.map_or(f64::INFINITY, |full| (full - until) as f64),
    )
}

#[test]
fn a_constant_fill_is_told_to_the_second() {
    for until in [5, 29, 200] {
        let (told, truth) = told_and_true(|second| 1000 + 100 * second, until);
        let told = told.expect("filling");
        assert!(
            (told - truth).abs() <= 1.0,
            "{told} s told, {truth} s true after {until}"
        );
    }
}

#[test]
fn an_accelerating_fill_is_told_at_its_newest_rate() {
    let (told, truth) = told_and_true(|second| second * second, 150);
    let told = told.expect("filling");
    assert!(
        (truth..truth * 1.15).contains(&told),
        "{told} s told, {truth} s true"
    );
}

#[test]
fn a_fill_that_levels_off_ends_in_no_time_at_all() {
    let used = |second: u64| 20_000 - 20_000 / (1 + second * second / 100);
    assert_eq!(told_and_true(|second| used(second.min(60)), 75).0, None);
}

#[test]
fn a_saw_tooth_is_no_trend() {
    // Ten seconds up, and down at once.
    let used = |second: u64| 10_000 + 500 * (second % 10);
    for until in 30..50 {
        let (told, _) = told_and_true(used, until);
        assert_eq!(told, None, "after {until}");
    }
    let mut world = World::new();
    for second in 0..60 {
        let used = 14_200 + 700 * (second % 10);
        let map = world.window(|s| state(s, CLIENT).pools = vec![pool(far(7), 443, used, 0)]);
        assert!(second < 20 || map.open.is_empty(), "second {second}");
    }
}

#[test]
fn a_search_much_longer_than_usual_is_evidence_of_a_pool_that_fills() {
    let told = |usual_windows, count, ns| {
        let search = |s: &mut Snapshot, ns| {
            let latencies = &mut s.kernel.latencies;
            latencies.resize(LATENCIES as usize, LatencyHistogram::EMPTY);
            (0..count).for_each(|_| latencies[Latency::PortSearch as usize].record(ns));
        };
        let mut world = World::new();
        world.windows(usual_windows, |s| search(s, 2_000));
        // What lasts becomes no usual one.
        let map = world.windows(100, |s| {
            search(s, ns);
            state(s, CLIENT).pools = vec![pool(far(7), 443, USABLE * 9 / 10, 0)];
        });
        assert_eq!(open(&map), [CAUSE]);
        let found = finding(&map, CAUSE);
        let mut rows = found.evidence.iter();
        let row = rows.find(|row| row.signal == "tcp_port_search");
        row.map(|row| (row.value, row.why.clone()))
    };
    let (mean, why) = told(5, 20, 300_000).expect("evidence");
    assert_eq!(mean.to_bits(), 300_000_f64.to_bits());
    assert!(why.ends_with("150 times the usual one"), "{why}");
    assert_eq!(told(5, 20, 5_900), None, "not three times");
    assert_eq!(told(5, 19, 300_000), None, "too few");
    assert_eq!(told(0, 20, 300_000), None, "always so");
}

#[test]
fn the_process_that_holds_most_is_named() {
    let mut world = World::new();
    let map = world.window(|s| {
        let mut full = pool(far(7), 443, USABLE, 40);
        full.holders = Some(held(28_000));
        state(s, CLIENT).pools = vec![full];
        let victim = peer(s, CLIENT, far(7), 443);
        victim.attempts += 5;
        victim.port_exhausted += 5;
    });
    assert_eq!(open(&map), [CAUSE]);
    let found = finding(&map, CAUSE);
    assert!(
        found
            .summary
            .contains("haproxy (pid 4711) holds most of them, 28000"),
        "{}",
        found.summary
    );
    let row = |signal| {
        let mut rows = found.evidence.iter();
        let row = rows.find(|row| row.signal == signal);
        row.map(|row| (row.value, row.why.as_str()))
    };
    let (ports, why) = row("ports_held").expect("holder");
    assert!(
        (ports - 28_000.0).abs() < 0.5 && why.contains("/system.slice/haproxy.service"),
        "{why}"
    );
    assert_eq!(row("ports_of_nobody").map(|(ports, _)| ports), Some(40.0));
    assert_eq!(row("unsearched"), None);
}

#[test]
fn ports_that_may_be_taken_over_are_told_beside_the_used_ones() {
    let mut world = World::new();
    let map = world.window(|s| {
        let mut filling = pool(far(7), 443, 23_000, 0);
        filling.reusable = 5000;
        state(s, CLIENT).pools = vec![filling];
    });
    let found = finding(&map, CAUSE);
    assert_eq!(found.severity, Severity::Warn);
    assert!(
        found
            .evidence
            .iter()
            .any(|row| row.signal == "time_wait_reusable" && (row.value - 5000.0).abs() < 0.5)
    );
}

#[test]
fn udp_warns_at_four_fifths_and_is_critical_when_nothing_is_left() {
    let mut world = World::new();
    assert_eq!(open(&world.windows(10, udp(22_500))), [""; 0]);
    let map = world.window(udp(22_700));
    assert_eq!(finding(&map, CAUSE).severity, Severity::Warn);
    let map = world.window(udp(USABLE - 1));
    assert_eq!(finding(&map, CAUSE).severity, Severity::Warn);
    let map = world.window(udp(USABLE));
    let found = finding(&map, CAUSE);
    assert_eq!(
        (found.severity, found.confidence, found.scope.proto),
        (Severity::Critical, Confidence::Likely, Some(Proto::Udp))
    );
    assert!(
        found.summary.contains("EAGAIN") && found.summary.contains("haproxy (pid 4711)"),
        "{}",
        found.summary
    );
    assert_eq!(root(&map), CAUSE);
    assert!(
        map.verdict.advice[0].confirm.contains("ss -Huan"),
        "{:?}",
        map.verdict.advice
    );
    assert_eq!(world.until_calm(|s| state(s, CLIENT).udp_ports = None), 5);
}

#[test]
fn udp_warns_when_it_will_be_full_within_a_minute() {
    let warned = |growth: u64| {
        let mut world = World::new();
        (1..=20).any(|n| {
            let used = 14_200 + n * growth;
            let map = world.window(udp(used));
            used < 22_500 && !map.open.is_empty()
        })
    };
    assert!(warned(300));
    assert!(!warned(50));
}
