//! Privileges that a run does without, given up before it does anything.
//!
//! Linux keeps capabilities per thread, and new threads inherit them: the one thread that there is at the start gives up for all.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::preflight::CAPABILITIES;

/// The last capability that a kernel may have, `CAP_LAST_CAP` of any kernel to come.
const LAST: u32 = 63;

/// Gives up every capability that is not in the table, for good: no program that this process might run gets any of them back
/// (`PR_SET_NO_NEW_PRIVS`, bounding set).
///
/// # Errors
/// What the kernel says; none of these calls is refused to a process that only gives up.
pub fn give_up() -> io::Result<()> {
    let kept = CAPABILITIES
        .iter()
        .fold(0, |kept, capability| kept | capability.bit());
    let kept = CapabilitySet::from_bits_retain(kept);
    let held = capabilities(None)?;
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
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
    set_capabilities(
        None,
        CapabilitySets {
            effective: held.effective & kept,
            permitted: held.permitted & kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(())
}
