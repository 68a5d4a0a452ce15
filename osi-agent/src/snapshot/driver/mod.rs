//! What the drivers' own counters mean: the names that `ethtool -S` shows, one table per driver.
//!
//! `*` in a name stands for the number of a queue; the queues of a device are added up. A counter that repeats frames of
//! another row, or that moves on healthy devices, is not in the tables.

use serde::{Deserialize, Serialize};

use crate::scope::Iface;

mod cloud;

mod fabric;

mod intel;

/// A device's driver and what it counts (`SIOCETHTOOL`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Driver {
    /// The device.
    pub iface: Iface,
    /// The driver's name (`ETHTOOL_GDRVINFO`), escaped.
    pub name: String,
    /// Frames that the link had carried, both ways, when the counters were read: that was not in every window.
    pub frames: u64,
    /// Its counters that are in the table; of a driver that is not, those whose names sound like errors.
    pub counters: Vec<DriverCounter>,
}

/// One counter of a driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverCounter {
    /// Its name, with `*` for the number of a queue; escaped.
    pub name: String,
    /// Its value, all queues together.
    pub value: u64,
    /// The queues that have counted, by number, where the driver counts them apart.
    pub queues: Vec<(u32, u64)>,
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Frames that the device dropped: it had no room for them.
    HardwareDrop,
    /// Frames that the driver dropped.
    SoftwareDrop,
    /// Frames that an XDP program dropped, before the kernel made packets of them.
    ProgramDrop,
    /// Frames that were damaged on the wire.
    Physical,
    /// Packets that the cloud delayed or dropped, because the instance used more than it is allowed.
    Allowance,
    /// Pause frames: one end asks the other to stop sending for a moment.
    Pause,
}

/// A counter of a driver.
#[derive(Debug)]
pub struct Row {
    /// Name as `ethtool -S` shows it, `*` for the number of a queue.
    pub counter: &'static str,
    /// What it counts.
    pub meaning: Meaning,
    /// The same in a sentence.
    pub help: &'static str,
    /// What to do when it grows.
    pub advice: &'static str,
}

/// Every driver whose counters are known.
pub static DRIVERS: &[(&str, &[Row])] = &[
    ("virtio_net", cloud::VIRTIO_NET),
    ("ena", cloud::ENA),
    ("gve", cloud::GVE),
    ("veth", cloud::VETH),
    ("ice", intel::ICE),
    ("i40e", intel::I40E),
    ("ixgbe", intel::IXGBE),
    ("mlx5_core", fabric::MLX5_CORE),
    ("bnxt_en", fabric::BNXT_EN),
];

/// The counters of a driver; `None` for one that nobody here knows.
pub fn rows(driver: &str) -> Option<&'static [Row]> {
    DRIVERS
        .iter()
        .find(|(name, _)| *name == driver)
        .map(|(_, rows)| *rows)
}

/// The row of a counter, by the name that it has in the table.
pub fn row(driver: &str, counter: &str) -> Option<&'static Row> {
    rows(driver)?.iter().find(|row| row.counter == counter)
}

/// The row of a counter, by the name that the driver gives it.
pub fn named(rows: &'static [Row], name: &str) -> Option<&'static Row> {
    rows.iter().find(|row| is(row.counter, name))
}

/// The number that stands in a name in the place of a counter's `*`.
pub fn queue(counter: &str, name: &str) -> Option<u32> {
    let (before, after) = counter.split_once('*')?;
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    let all = digits.bytes().all(|digit| digit.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten()
}

/// Whether a name fits a pattern, in which `*` stands for the number of a queue.
fn is(pattern: &str, name: &str) -> bool {
    pattern == name || queue(pattern, name).is_some()
}

const PROGRAM: &str = "Ask whoever attached the XDP program whether it is meant to drop.";
const CABLE: &str = "Clean or replace the cable, the transceiver and its socket, then the other end's, one at a time, and watch which change stops the errors.";
const RING: &str = "Let the receive rings be longer, or spread the queues over more CPUs, so that bursts find room.";
const HOST: &str = "The host takes packets off the device too slowly: look for a busy CPU, a slow PCIe slot or power saving states.";
const MEMORY: &str =
    "The kernel had no memory for packets in time: free memory or raise vm.min_free_kbytes.";
const PEER: &str =
    "Find out why the end that asks for pauses is slow; pausing delays all traffic of the link.";
const SIZE: &str =
    "Use a larger instance, spread the traffic over more instances, or let it come less in bursts.";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_unique_and_helped() {
        for (driver, rows) in DRIVERS {
            let names: BTreeSet<_> = rows.iter().map(|row| row.counter).collect();
            assert_eq!(names.len(), rows.len(), "{driver}");
            for row in *rows {
                assert!(row.help.ends_with('.') && row.advice.ends_with('.'));
                // `ETH_GSTRING_LEN` has room for a NUL.
                assert!(row.counter.len() < 32, "{}", row.counter);
            }
        }
    }

    #[test]
    fn no_name_fits_two_rows() {
        for (driver, rows) in DRIVERS {
            for row in *rows {
                let name = row.counter.replace('*', "17");
                let fitting = rows.iter().filter(|row| is(row.counter, &name)).count();
                assert_eq!(fitting, 1, "{driver}: {name}");
            }
        }
    }

    #[test]
    fn a_star_stands_for_digits_only() {
        assert!(is("rx*_drops", "rx0_drops") && is("rx*_drops", "rx127_drops"));
        assert!(!is("rx*_drops", "rx_drops") && !is("rx*_drops", "rx0_xdp_drops"));
        assert!(is("[*]: rx_discards", "[3]: rx_discards"));
        assert!(is("rx_no_buffers_posted[*]", "rx_no_buffers_posted[12]"));
    }
}
