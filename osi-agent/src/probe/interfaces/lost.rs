//! Which attachments are gone with their interface, although one of the same name and index may stand there now.

use std::os::fd::RawFd;

use aya::programs::links::FdLink;
use aya::programs::tc::SchedClassifierLink;

use super::{Interfaces, Slot, TcMode, inside};
use crate::probe::{clsact, own};

impl Interfaces {
    /// Slots whose programs are gone with their interface, whatever stands there now under the same name and index.
    pub(super) fn lost(&self) -> Vec<u32> {
        let is_lost = |slot: &&Slot| match (self.mode, slot.links.witness) {
            (TcMode::Tcx, Some(witness)) => own::link_ifindex(witness) == Some(0),
            (TcMode::Tcx, None) => false,
            (TcMode::Clsact, _) => clsact::has_own(slot.iface.ifindex).is_ok_and(|has| !has),
        };
        let find = || {
            self.slots
                .iter()
                .filter(is_lost)
                .map(|slot| slot.slot)
                .collect()
        };
        match self.mode {
            TcMode::Tcx => find(),
            TcMode::Clsact => inside(&self.options.home, find).unwrap_or_default(),
        }
    }
}

/// The descriptor of a link; filters have none.
pub(super) fn witness(link: &SchedClassifierLink) -> Option<RawFd> {
    let link: &FdLink = link.try_into().ok()?;
    own::link_descriptor(link.info().ok()?.id())
}
