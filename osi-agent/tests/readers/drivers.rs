//! Drivers and what they count, against what `ethtool` shows.

use std::collections::BTreeMap;
use std::process::Command;

use osi_agent::snapshot::{Driver, NetnsState};

use crate::pair::{Pair, link, run, state};

fn driver<'a>(state: &'a NetnsState, name: &str) -> &'a Driver {
    let mut rows = state.drivers.iter();
    rows.find(|driver| driver.iface.name == name).expect(name)
}

#[test]
fn a_veth_has_a_driver_with_counters() {
    need_root!("a_veth_has_a_driver_with_counters");
    let pair = Pair::new();
    let state = state(&pair.a);
    let va = driver(&state, "va");
    assert_eq!(va.name, "veth");
    assert_eq!(va.iface, link(&state, "va").iface);
    let names: Vec<_> = va
        .counters
        .iter()
        .map(|counter| counter.name.as_str())
        .collect();
    assert!(names.contains(&"rx_queue_*_drops"), "{names:?}");
    // A loopback has no driver of its own.
    assert!(state.drivers.iter().all(|row| row.iface.name != "lo"));
}

#[test]
fn drivers_equal_what_ethtool_shows() {
    need_root!("drivers_equal_what_ethtool_shows");
    if Command::new("ethtool").arg("--version").output().is_err() {
        println!("skipped: drivers_equal_what_ethtool_shows: ethtool is not installed");
        return;
    }
    let pair = Pair::new();
    run(&format!("ip -n {} link del va", pair.a));
    run(&format!(
        "ip -n {} link add va numrxqueues 3 numtxqueues 3 type veth peer name vb netns {}",
        pair.a, pair.b
    ));
    let state = state(&pair.a);
    let va = driver(&state, "va");
    let info = run(&format!("ip netns exec {} ethtool -i va", pair.a));
    assert_eq!(
        info.lines().next(),
        Some(format!("driver: {}", va.name).as_str())
    );

    let text = run(&format!("ip netns exec {} ethtool -S va", pair.a));
    let mut shown: BTreeMap<String, u64> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let (name, value) = line.trim().rsplit_once(": ").expect("value");
        let pattern: Vec<_> = name
            .split('_')
            .map(|word| {
                if word.parse::<u32>().is_ok() {
                    "*"
                } else {
                    word
                }
            })
            .collect();
        *shown.entry(pattern.join("_")).or_default() += value.parse::<u64>().expect("number");
    }
    assert!(text.contains("rx_queue_2_drops"), "{text}");
    assert!(!va.counters.is_empty());
    for counter in &va.counters {
        assert_eq!(
            shown.get(&counter.name),
            Some(&counter.value),
            "{counter:?}"
        );
    }
}
