//! What drivers count themselves and the kernel does not know.

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::{Netns, Scope, ScopeKind};
use crate::snapshot::Driver;
use crate::snapshot::driver::{self, Meaning, Row};

rows! { Layer::L1;
    ALLOWANCE_EXCEEDED: "Packets that the cloud delayed or dropped, because the instance used more than it is allowed." {
        id: "allowance_exceeded",
        unit: Unit::Packets,
        source: Source::Ethtool,
        scope: ScopeKind::Iface,
        fed_by: &["drivers"],
        since: "5.10",
        read: Read::Errors(allowances),
    }
    DRIVER_DROPS: "Packets that the driver dropped, as it counts them itself." {
        id: "driver_drops",
        unit: Unit::Packets,
        source: Source::Ethtool,
        scope: ScopeKind::Iface,
        fed_by: &["drivers"],
        since: "5.10",
        read: Read::Drops(drops),
    }
    PAUSE_FRAMES: "Pause frames that the link carried: one end asks the other to stop sending for a moment." {
        id: "pause_frames",
        unit: Unit::Packets,
        source: Source::Ethtool,
        scope: ScopeKind::Iface,
        fed_by: &["drivers"],
        since: "5.10",
        read: Read::Traffic(pauses),
    }
    DRIVER_UNKNOWN: "Growth of counters whose names sound like errors, of drivers whose counters are not known here: nobody is blamed for it." {
        id: "driver_unknown",
        unit: Unit::Events,
        source: Source::Ethtool,
        scope: ScopeKind::Iface,
        fed_by: &["drivers"],
        since: "5.10",
        read: Read::Traffic(unknown),
    }
}

/// A driver's counter that grew.
#[derive(Clone, Copy, Debug)]
pub struct Growth<'a> {
    /// Namespace of the device.
    pub netns: &'a Netns,
    /// Its driver.
    pub driver: &'a Driver,
    /// Name of the counter, with `*` for the number of a queue.
    pub counter: &'a str,
    /// What it means, where that is known.
    pub row: Option<&'static Row>,
    /// Growth.
    pub by: u64,
    /// The queue that grew most and by how much, where the driver counts several apart.
    pub busiest: Option<(u32, u64)>,
    /// Frames that the link carried since the driver was asked before.
    pub frames: u64,
}

/// All drivers' counters that grew in the window.
pub fn grown<'a>(window: &Window<'a>) -> impl Iterator<Item = Growth<'a>> + use<'a> {
    window.drivers().flat_map(|row| {
        let (netns, driver, before) = (row.netns, row.now, row.before);
        let counters = driver.counters.iter();
        counters.filter_map(move |counter| {
            let mut olds = before.counters.iter();
            let old = olds.find(|old| old.name == counter.name)?;
            let by = counter.value.saturating_sub(old.value);
            (by > 0).then(|| Growth {
                netns,
                driver,
                counter: &counter.name,
                row: driver::row(&driver.name, &counter.name),
                by,
                busiest: busiest(&old.queues, &counter.queues),
                frames: driver.frames.saturating_sub(before.frames),
            })
        })
    })
}

fn busiest(before: &[(u32, u64)], now: &[(u32, u64)]) -> Option<(u32, u64)> {
    let grown = now.iter().map(|(queue, value)| {
        let old = before.iter().find(|(old, _)| old == queue);
        (*queue, value.saturating_sub(old.map_or(0, |(_, old)| *old)))
    });
    grown.max_by_key(|(_, by)| *by).filter(|(_, by)| *by > 0)
}

fn allowances(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(amounts(window, Some(Meaning::Allowance)));
}

fn drops(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(amounts(window, Some(Meaning::SoftwareDrop)));
}

fn pauses(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(amounts(window, Some(Meaning::Pause)));
}

fn unknown(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(amounts(window, None));
}

/// Growth of the counters of one meaning: one row per device.
fn amounts(window: &Window, wanted: Option<Meaning>) -> Vec<Amount> {
    let mut rows: Vec<Amount> = Vec::new();
    let of_kind = |growth: &Growth| growth.row.map(|row| row.meaning) == wanted;
    for growth in grown(window).filter(of_kind) {
        let scope = growth.scope();
        // The counters of a device follow each other.
        match rows.last_mut().filter(|row| row.scope == scope) {
            Some(row) => row.delta += growth.by,
            None => rows.push(Amount {
                scope,
                delta: growth.by,
            }),
        }
    }
    rows
}

impl Growth<'_> {
    /// The device.
    pub fn scope(&self) -> Scope {
        let iface = &self.driver.iface;
        Scope::iface(self.netns, iface.ifindex, &iface.name)
    }
}
