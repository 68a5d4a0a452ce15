//! Frames that a device received or sent wrongly, or had no room for: the kernel's counters, and the driver's where they
//! know of more.

use std::collections::BTreeMap;

use osi_common::layer::Layer;

use super::driver::grown;
use crate::layer::l3_network::tunnels::is_tunnel;
use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::{Netns, Scope, ScopeKind};
use crate::snapshot::driver::Meaning;
use crate::snapshot::{Link, LinkStats};

rows! { Layer::L1;
    LINK_PHYSICAL_ERRORS: "Frames that arrived damaged: wrong checksum or alignment." {
        id: "link_physical_errors",
        unit: Unit::Packets,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["links"],
        since: "5.10",
        read: Read::Errors(physical),
    }
    LINK_MISSED: "Frames that the device dropped because it had no room for them, in its own memory or in its rings." {
        id: "link_missed",
        unit: Unit::Packets,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["links"],
        since: "5.10",
        read: Read::Errors(missed),
    }
    LINK_OTHER_ERRORS: "Frames that the device received or sent wrongly for another reason, such as a wrong length or an aborted transmission." {
        id: "link_other_errors",
        unit: Unit::Packets,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["links"],
        since: "5.10",
        read: Read::Errors(other),
    }
}

/// A link's faults in the window. A frame is in one of the three counts only.
#[derive(Clone, Copy, Debug)]
pub struct Faults<'a> {
    /// Its namespace.
    pub netns: &'a Netns,
    /// The link.
    pub link: &'a Link,
    /// Frames that arrived damaged.
    pub physical: u64,
    /// Frames that the device had no room for.
    pub missed: u64,
    /// Errors of other kinds.
    pub other: u64,
    /// Frames that it carried meanwhile, both ways.
    pub frames: u64,
}

/// What the drivers know: damaged, no room, frames since the last time they were asked.
type Counted<'a> = BTreeMap<(&'a Netns, u32), (u64, u64, u64)>;

/// Every link's faults. The kernel's counters and the driver's count the same frames, so the larger of the two holds, never
/// their sum.
pub fn by_link<'a>(window: &Window<'a>) -> impl Iterator<Item = Faults<'a>> + use<'a> {
    let mut counted = Counted::new();
    for growth in grown(window) {
        let key = (growth.netns, growth.driver.iface.ifindex);
        let (physical, missed, frames) = counted.entry(key).or_default();
        *frames = growth.frames;
        match growth.row.map(|row| row.meaning) {
            Some(Meaning::Physical) => *physical += growth.by,
            Some(Meaning::HardwareDrop) => *missed += growth.by,
            Some(
                Meaning::SoftwareDrop | Meaning::ProgramDrop | Meaning::Allowance | Meaning::Pause,
            )
            | None => {}
        }
    }
    // A bond repeats what its members count, and what a tunnel counts happened on L3.
    let own = window
        .links()
        .filter(|row| row.now.kind.as_deref() != Some("bond") && !is_tunnel(row.now));
    own.map(move |row| {
        let (netns, link, before) = (row.netns, row.now, row.before);
        let growth =
            |field: fn(&LinkStats) -> u64| field(&link.stats).saturating_sub(field(&before.stats));
        let physical = growth(|stats| stats.rx_crc + stats.rx_frame);
        let fifo = growth(|stats| stats.fifo);
        let errors = growth(|stats| stats.rx_errors + stats.tx_errors);
        let key = (netns, link.iface.ifindex);
        let known = counted.get(&key).copied().unwrap_or_default();
        Faults {
            netns,
            link,
            physical: physical.max(known.0),
            // Some drivers tell the same frames as missed and as overruns.
            missed: growth(|stats| stats.rx_missed).max(fifo).max(known.1),
            other: errors.saturating_sub(physical + fifo),
            // A driver is not asked in every window: what it counted is held against all frames since.
            frames: growth(|stats| stats.rx_packets + stats.tx_packets).max(known.2),
        }
    })
}

fn physical(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(by_link(window).map(|faults| faults.amount(faults.physical)));
}

fn missed(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(by_link(window).map(|faults| faults.amount(faults.missed)));
}

fn other(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(by_link(window).map(|faults| faults.amount(faults.other)));
}

impl Faults<'_> {
    /// The link.
    pub fn scope(&self) -> Scope {
        Scope::iface(self.netns, self.link.iface.ifindex, &self.link.iface.name)
    }

    fn amount(&self, delta: u64) -> Amount {
        Amount {
            scope: self.scope(),
            delta,
        }
    }
}
