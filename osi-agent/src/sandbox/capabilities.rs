//! Capabilities, given up as soon as nothing needs them.
//!
//! Linux keeps them per thread, and new threads inherit them.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::Role;
use crate::probe::preflight::{CAP_SYS_ADMIN, CAPABILITIES, Capability};

/// The last capability that a kernel may have, `CAP_LAST_CAP` of any kernel to come.
const LAST: u32 = 63;

/// Gives up every capability that is not in the table, for good: no program that this process might run gets any of them back
/// (`PR_SET_NO_NEW_PRIVS`, bounding set). Called while there is one thread.
///
/// # Errors
/// What the kernel says; none of these calls is refused to a process that only gives up.
pub fn begin() -> io::Result<()> {
    let kept = set(CAPABILITIES.iter());
    let held = capabilities(None)?;
    set_no_new_privs(true)?;
    // The one that allows narrowing the bounding set is itself given up below.
    if held.effective.contains(CapabilitySet::SETPCAP) {
        let others = (0..=LAST).map(|bit| CapabilitySet::from_bits_retain(1 << bit));
        for other in others.filter(|other| !kept.contains(*other)) {
            match remove_capability_from_bounding_set(other) {
                Ok(()) => {}
                // Beyond the last one that this kernel has.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    // What is inheritable stays so until the helper is started: without root it has its capabilities from there.
    Ok(set_capabilities(
        None,
        CapabilitySets {
            effective: held.effective & kept,
            permitted: held.permitted & kept,
            inheritable: held.inheritable & kept,
        },
    )?)
}

/// Keeps, in the calling thread, what a role needs from now on; `elsewhere` as of [`super::watcher`].
pub(super) fn keep(role: Role, elsewhere: bool) -> io::Result<()> {
    let kept = set(CAPABILITIES.iter().filter(|row| row.kept.contains(&role)));
    let entering = CapabilitySet::from_bits_retain(if elsewhere { 1 << CAP_SYS_ADMIN } else { 0 });
    only(kept | entering)
}

/// Keeps nothing, in the calling thread.
pub(super) fn none() -> io::Result<()> {
    only(CapabilitySet::empty())
}

fn only(kept: CapabilitySet) -> io::Result<()> {
    let held = capabilities(None)?;
    clear_ambient_capability_set()?;
    Ok(set_capabilities(
        None,
        CapabilitySets {
            effective: held.effective & kept,
            permitted: held.permitted & kept,
            inheritable: CapabilitySet::empty(),
        },
    )?)
}

fn set<'a>(rows: impl Iterator<Item = &'a Capability>) -> CapabilitySet {
    CapabilitySet::from_bits_retain(rows.fold(0, |set, capability| set | capability.bit()))
}
