//! What the programs say about themselves: every early exit that loses something is counted here.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use osi_common::occurrence::{HEALTH_SLOTS, Health};

/// Writer: every program. Reader: the agent, each window. Nobody deletes. One slot per [`Health`] row.
#[map]
static HEALTH: PerCpuArray<u64> = PerCpuArray::with_max_entries(HEALTH_SLOTS, 0);

/// Counts one occurrence of a health row on this CPU.
#[inline(always)]
pub(crate) fn note(row: Health) {
    if let Some(slot) = HEALTH.get_ptr_mut(row as u32) {
        add(slot, 1);
    }
}

/// Adds to a counter that process and softirq context (or several CPUs) may write.
#[inline(always)]
pub(crate) fn add(counter: *mut u64, value: u64) {
    // SAFETY: the pointer comes from a map lookup and is aligned; nobody takes a Rust reference to map memory.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(
            counter, value,
        );
    }
}

/// Puts a value where several may write, and answers what was there. One instruction that kernels know from 5.12 on: only for
/// programs that older ones do not load.
#[inline(always)]
pub(crate) fn swap(place: *mut u64, value: u64) -> u64 {
    // SAFETY: as above, or the pointer comes from a socket's storage.
    unsafe {
        core::intrinsics::atomic_xchg::<u64, { core::intrinsics::AtomicOrdering::Relaxed }>(
            place, value,
        )
    }
}

/// Adds to one field of a map value.
macro_rules! bump {
    ($value:expr, $($field:ident).+, $amount:expr) => {
        // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
        $crate::shared::own::add(unsafe { &raw mut (*$value).$($field).+ }, $amount)
    };
}
pub(crate) use bump;
