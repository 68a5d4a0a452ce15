//! Whether anything from a port may end a handshake of QUIC: two array look-ups, so that the packets of data, which are nearly
//! all, ask no hash.

use aya_ebpf::{macros::map, maps::Array};
use osi_common::quic::{PENDING_SLOTS, Pending, pending_slot};

use super::own::bump;

/// Writer: `quic`. Reader: the packet programs. Nobody deletes.
#[map]
static QUIC_PENDING: Array<Pending> = Array::with_max_entries(PENDING_SLOTS, 0);

/// Writer: the agent, which gives up what does not end. Reader: the packet programs.
#[map]
static QUIC_GIVEN_UP: Array<u64> = Array::with_max_entries(PENDING_SLOTS, 0);

/// A handshake begins, which this slot's datagrams may end.
#[inline(always)]
pub(crate) fn begun(slot: u32) {
    if let Some(slot) = QUIC_PENDING.get_ptr_mut(slot) {
        bump!(slot, begun, 1);
    }
}

/// It has ended.
#[inline(always)]
pub(crate) fn ended(slot: u32) {
    if let Some(slot) = QUIC_PENDING.get_ptr_mut(slot) {
        bump!(slot, ended, 1);
    }
}

/// Whether one is in flight that a datagram from this port may end, or from another of the same slot.
#[inline(always)]
pub(crate) fn is_pending(port: u16, leaves: bool) -> bool {
    let slot = pending_slot(port, leaves);
    let (Some(pending), Some(given_up)) = (QUIC_PENDING.get(slot), QUIC_GIVEN_UP.get(slot)) else {
        return false;
    };
    pending.begun != pending.ended + *given_up
}
