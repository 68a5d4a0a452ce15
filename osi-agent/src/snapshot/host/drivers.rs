//! What drivers count themselves: `SIOCETHTOOL`, as seldom as the answers allow (`docs/adr/0013-driver-counters.md`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::{Duration, Instant};

pub(crate) use self::layout::Layout;
use super::ethtool::{Asking, Question, STATISTICS, driver_info, names, statistics};
use super::link::{Asked, Device, NAME_MAX};
use super::{Kept, Scratch};
use crate::host::namespaces::BOUND;
use crate::host::text::clean;
use crate::scope::{Iface, Netns};
use crate::snapshot::driver::{self, Driver, DriverCounter, Meaning};

mod layout;

/// Devices that are kept per namespace.
const DEVICES: usize = 4096;

/// Windows that pass before a quiet device is asked again.
const QUIET: u32 = 10;

/// Devices that are still due when this has been spent in a namespace wait for the next window.
const SPENT: Duration = Duration::from_millis(100);

/// What is known of the devices of each namespace, by index.
#[derive(Debug, Default)]
pub(super) struct Drivers {
    namespaces: HashMap<Netns, Space>,
    /// Visits to namespaces so far.
    visits: u64,
}

#[derive(Debug, Default)]
struct Space {
    /// The last visit to it.
    visit: u64,
    devices: BTreeMap<u32, Known>,
}

impl Drivers {
    /// What is known of a namespace. Beyond the number that is ever watched, the one that was not seen for longest is gone.
    fn of(&mut self, netns: &Netns) -> &mut BTreeMap<u32, Known> {
        self.visits += 1;
        if self.namespaces.len() >= BOUND && !self.namespaces.contains_key(netns) {
            let oldest = self.namespaces.iter().min_by_key(|(_, space)| space.visit);
            if let Some(oldest) = oldest.map(|(netns, _)| netns.clone()) {
                self.namespaces.remove(&oldest);
            }
        }
        let space = self.namespaces.entry(netns.clone()).or_default();
        space.visit = self.visits;
        &mut space.devices
    }
}

/// A device that was asked.
#[derive(Debug)]
struct Known {
    /// The name that it was asked by.
    name: Vec<u8>,
    /// Windows since then.
    windows: u32,
    /// What the kernel itself counted as errors and drops then.
    faults: u64,
    /// Whether one of its counters had grown.
    moved: bool,
    /// Which of its statistics are kept.
    layout: Layout,
    /// Nothing where it has no driver of its own.
    driver: Option<Driver>,
}

impl Known {
    /// A device that did not answer.
    fn silent(device: &Device) -> Self {
        Self {
            name: device.raw.clone(),
            windows: 0,
            faults: device.faults,
            moved: false,
            layout: Layout::default(),
            driver: None,
        }
    }
}

/// Reads the drivers' counters of the namespace, or repeats what they were. Needs the links of the same pass.
pub(super) fn read(netns: &Netns, scratch: &mut Scratch) -> io::Result<Kept<Driver>> {
    let Scratch {
        devices, drivers, ..
    } = scratch;
    // Every namespace has a loopback: without links nothing is known of what there is to ask.
    if devices.is_empty() {
        return Err(io::Error::other("the links could not be read"));
    }
    let known = drivers.of(netns);
    known.retain(|index, _| devices.contains_key(index));
    for known in known.values_mut() {
        known.windows = known.windows.saturating_add(1);
    }

    let mut due: Vec<_> = devices
        .iter()
        .filter(|(index, device)| is_due(device, known.get(index)))
        .map(|(index, _)| {
            let waited = known.get(index).map_or(u32::MAX, |known| known.windows);
            (Reverse(waited), *index)
        })
        .collect();
    due.sort_unstable();
    let began = Instant::now();
    let (mut asking, mut refused) = (None, 0);
    for (_, index) in due {
        if began.elapsed() > SPENT {
            break;
        }
        let asking = match &mut asking {
            Some(asking) => asking,
            None => asking.insert(Asking::here()?),
        };
        let device = &devices[&index];
        let before = known.remove(&index);
        match ask(asking, index, device, before) {
            Ok(now) => known.extend(now.map(|now| (index, now))),
            // One device that is out of order hides no other; its turn comes again.
            Err(error) => {
                log::debug!("{}: {error}", device.name);
                refused += 1;
                known.insert(index, Known::silent(device));
            }
        }
    }

    let mut kept = Kept::new(DEVICES);
    kept.omitted = refused;
    for known in known.values() {
        known.driver.iter().cloned().for_each(|row| kept.push(row));
        kept.omitted += known.layout.omitted;
    }
    Ok(kept)
}

/// A device is asked when it is new, when the kernel's own counters or its driver's have just moved, in every window where
/// only the driver knows of its allowances, and every now and then.
fn is_due(device: &Device, known: Option<&Known>) -> bool {
    let Some(known) = known.filter(|known| known.name == device.raw) else {
        return device.asked != Asked::Never;
    };
    let Some(driver) = &known.driver else {
        // It has none, or was away or out of order when it was asked.
        return device.asked == Asked::Hardware && known.windows >= QUIET;
    };
    let is_allowance = |counter: &DriverCounter| {
        driver::row(&driver.name, &counter.name)
            .is_some_and(|row| row.meaning == Meaning::Allowance)
    };
    known.moved
        || known.faults != device.faults
        || driver.counters.iter().any(is_allowance)
        || device.asked == Asked::Hardware && known.windows >= QUIET
}

/// Asks a device. Nothing where its statistics became others meanwhile: it is new again in the next window.
fn ask(
    asking: &mut Asking,
    index: u32,
    device: &Device,
    before: Option<Known>,
) -> io::Result<Option<Known>> {
    let known = match before.filter(|before| before.name == device.raw) {
        Some(known) => known,
        None => introduce(asking, index, device)?,
    };
    let Known {
        name,
        layout,
        driver,
        ..
    } = known;
    let (mut driver, mut moved) = (driver, false);
    if let Some(driver) = driver.as_mut().filter(|_| !layout.is_empty()) {
        let answer = asking.ask(&name, Question::Statistics(layout.statistics))?;
        let Some(values) = answer.and_then(|answer| statistics(answer, layout.statistics)) else {
            return Ok(None);
        };
        let counters = layout.sum(&values.collect::<Vec<_>>());
        moved = !driver.counters.is_empty() && driver.counters != counters;
        (driver.counters, driver.frames) = (counters, device.frames);
    }
    Ok(Some(Known {
        name,
        windows: 0,
        faults: device.faults,
        moved,
        layout,
        driver,
    }))
}

/// Asks for the driver's name and for the names of its statistics.
fn introduce(asking: &mut Asking, index: u32, device: &Device) -> io::Result<Known> {
    let info = asking.ask(&device.raw, Question::Driver)?;
    let info = info.and_then(driver_info);
    let info = info.map(|(name, statistics)| (clean(name, NAME_MAX), statistics));
    let (mut layout, mut driver) = (Layout::default(), None);
    if let Some((name, statistics)) = info {
        layout.omitted = u64::from(statistics);
        if (1..=STATISTICS).contains(&statistics) {
            let answer = asking.ask(&device.raw, Question::Names(statistics))?;
            layout = Layout::of(&name, answer.map(names).into_iter().flatten());
        }
        driver = Some(Driver {
            iface: Iface {
                ifindex: index,
                name: device.name.clone(),
            },
            name,
            frames: device.frames,
            counters: Vec::new(),
        });
    }
    Ok(Known {
        name: device.raw.clone(),
        windows: 0,
        faults: device.faults,
        moved: false,
        layout,
        driver,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(faults: u64) -> Device {
        Device {
            name: "eth0".to_owned(),
            raw: b"eth0".to_vec(),
            queue_length: None,
            xdp_program: None,
            asked: Asked::Hardware,
            frames: 0,
            faults,
        }
    }

    fn known(driver: &str, counter: &str) -> Known {
        let layout = Layout::of(driver, [counter.as_bytes()].into_iter());
        let counters = layout.sum(&[5]);
        let iface = Iface {
            ifindex: 2,
            name: "eth0".to_owned(),
        };
        Known {
            name: b"eth0".to_vec(),
            windows: 1,
            faults: 0,
            moved: false,
            layout,
            driver: Some(Driver {
                iface,
                name: driver.to_owned(),
                frames: 0,
                counters,
            }),
        }
    }

    #[test]
    fn namespaces_that_are_gone_make_room() {
        let mut drivers = Drivers::default();
        let netns = |inode| Netns {
            inode,
            cookie: 0,
            name: None,
            ..Netns::default()
        };
        drivers
            .of(&netns(0))
            .insert(2, known("ixgbe", "rx_crc_errors"));
        for inode in 1..BOUND as u32 * 2 {
            drivers.of(&netns(inode));
            assert_eq!(drivers.of(&netns(0)).len(), 1);
        }
        assert_eq!(drivers.namespaces.len(), BOUND);
    }

    #[test]
    fn a_quiet_device_is_left_alone() {
        let quiet = known("ixgbe", "rx_crc_errors");
        assert!(is_due(&device(0), None));
        assert!(!is_due(&device(0), Some(&quiet)));
        assert!(is_due(&device(1), Some(&quiet)));
        assert!(is_due(
            &device(0),
            Some(&Known {
                moved: true,
                ..known("ixgbe", "rx_crc_errors")
            })
        ));
        assert!(is_due(
            &device(0),
            Some(&Known {
                windows: QUIET,
                ..quiet
            })
        ));
        assert!(is_due(
            &device(0),
            Some(&known("ena", "pps_allowance_exceeded"))
        ));
        let renamed = Known {
            name: b"eth9".to_vec(),
            ..known("ixgbe", "rx_crc_errors")
        };
        assert!(is_due(&device(0), Some(&renamed)));
        let mut absent = Known::silent(&device(0));
        assert!(!is_due(&device(1), Some(&absent)));
        absent.windows = QUIET;
        assert!(is_due(&device(0), Some(&absent)), "it may be back");
        let software = Device {
            asked: Asked::WhenMoved,
            ..device(0)
        };
        let old = Known {
            windows: QUIET,
            ..known("veth", "rx_queue_0_drops")
        };
        assert!(!is_due(&software, Some(&old)));
    }
}
