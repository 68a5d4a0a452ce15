//! How long neighbours take to answer for the first time.
//!
//! An entry that failed once and is asked for again is not timed: the kernel keeps it, and tells of the new try only when the
//! answer may already be there (`neigh_event_send_done` comes after the softirq that takes it). How many wait, and since when,
//! is read from the neighbour table.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, macros::map, maps::LruHashMap};
use osi_common::latency::Latency;

use crate::shared::{latency::record, read::Object, rodata::offset};

/// When an entry was made.
#[repr(C)]
#[derive(Clone, Copy)]
struct Made {
    /// Boot time.
    at_ns: u64,
    /// The same in the kernel's ticks: when the entry changed for the last time (`updated`).
    at_ticks: u64,
}

/// An entry is asked for at once by whoever has it made. One that is asked for later had failed meanwhile, or nobody waited for it.
const AT_ONCE_TICKS: u64 = 50;

/// Entries that may be made while one waits; after more, that one is not timed.
const MAX_RESOLUTIONS: u32 = 4096;

/// `NUD_INCOMPLETE`: asked for, not answered (`uapi/linux/neighbour.h`).
const INCOMPLETE: u8 = 0x01;
/// `NUD_VALID`: every state in which the link address is known.
const VALID: u8 = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;

/// Writer: `neigh_create`. Deleter: `neigh_update`. Key: the entry's address; value: when it was made. Entries that are never
/// answered, or never asked for, fall out as others come.
#[map]
static RESOLUTIONS: LruHashMap<u64, Made> = LruHashMap::with_max_entries(MAX_RESOLUTIONS, 0);

/// An entry was made, as a rule because a packet is to be sent there.
#[inline(always)]
pub(crate) fn created(entry: Object) {
    let made = Made {
        // SAFETY: helper without preconditions.
        at_ns: unsafe { bpf_ktime_get_boot_ns() },
        at_ticks: entry.field(offset!(neigh_updated)).unwrap_or(0),
    };
    let _full = RESOLUTIONS.insert(entry.address(), made, 0);
}

/// An entry gets a state, and still has the one before.
#[inline(always)]
pub(crate) fn updated(entry: Object, state: u8) {
    if state & VALID == 0 {
        return;
    }
    let Some(made) = RESOLUTIONS.get_ptr(entry.address()) else {
        return;
    };
    // SAFETY: the pointer comes from a map lookup; a value that is replaced meanwhile is another entry's, and as whole.
    let made = unsafe { *made };
    let _gone = RESOLUTIONS.remove(entry.address());
    let asked: u64 = entry.field(offset!(neigh_updated)).unwrap_or(u64::MAX);
    let is_first = asked.wrapping_sub(made.at_ticks) <= AT_ONCE_TICKS;
    // What others tell unasked makes an entry, too: nobody waited for it.
    if is_first && entry.field(offset!(neigh_nud_state)) == Some(INCOMPLETE) {
        // SAFETY: helper without preconditions.
        let now = unsafe { bpf_ktime_get_boot_ns() };
        record(Latency::NeighbourResolution, now.saturating_sub(made.at_ns));
    }
}
