//! How long neighbours take to answer for the first time.
//!
//! An entry that failed once and is asked for again is not timed: the kernel keeps it, and tells of the new try only when the
//! answer may already be there (`neigh_event_send_done` comes after the softirq that takes it). How many wait, and since when,
//! is read from the neighbour table.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, macros::map, maps::LruHashMap};
use osi_common::latency::Latency;

use crate::shared::{latency::record, read::Object, rodata::offset};

/// Entries that may wait at once; of more, the oldest are not timed.
const MAX_RESOLUTIONS: u32 = 4096;

/// `NUD_INCOMPLETE`: asked for, not answered (`uapi/linux/neighbour.h`).
const INCOMPLETE: u8 = 0x01;
/// `NUD_VALID`: every state in which the link address is known.
const VALID: u8 = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;

/// Writer: `neigh_create`. Deleter: `neigh_update`. Key: the entry's address; value: when it was made. Entries that are never
/// answered, or never asked for, fall out as others come.
#[map]
static RESOLUTIONS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(MAX_RESOLUTIONS, 0);

/// An entry was made, as a rule because a packet is to be sent there.
#[inline(always)]
pub(crate) fn created(entry: u64) {
    // SAFETY: helper without preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let _full = RESOLUTIONS.insert(entry, now, 0);
}

/// An entry gets a state, and still has the one before.
#[inline(always)]
pub(crate) fn updated(entry: Object, state: u8) {
    if state & VALID == 0 {
        return;
    }
    let Some(created) = RESOLUTIONS.get_ptr(entry.address()) else {
        return;
    };
    // SAFETY: the pointer comes from a map lookup; a value that is replaced meanwhile is another entry's, and as whole.
    let created = unsafe { *created };
    let _gone = RESOLUTIONS.remove(entry.address());
    // What others tell unasked makes an entry, too: nobody waited for it.
    if entry.field(offset!(neigh_nud_state)) == Some(INCOMPLETE) {
        // SAFETY: helper without preconditions.
        let now = unsafe { bpf_ktime_get_boot_ns() };
        record(Latency::NeighbourResolution, now.saturating_sub(created));
    }
}
