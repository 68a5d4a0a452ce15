//! Packets, bytes, size classes and 1 ms bursts per interface and direction; frames and malformed frames at XDP.
//!
//! Per packet: two array look-ups and one clock read, no hash, nothing shared between CPUs but one add per millisecond.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns,
    macros::map,
    maps::{Array, PerCpuArray},
    programs::{TcContext, XdpContext},
};
use osi_common::interface::{
    BURST_BIN_NS, BURST_BINS, Bursts, Direction, Frames, MAX_IFINDEX, SIZE_CLASSES, SLOTS, Traffic,
    burst_bin, row, size_class,
};
use osi_common::occurrence::Health;

use crate::shared::{
    ip::{ETH_HEADER, ETH_P_IP, ETH_P_IPV6},
    own::{bump, note},
    read::within,
};

/// Writer: the agent, when it attaches. Reader: the packet programs. Interface index → slot + 1; 0 is no slot.
#[map]
static SLOT_OF: Array<u32> = Array::with_max_entries(MAX_IFINDEX, 0);

/// Writer: tc. Reader: the agent, each window. Cleared by the agent when a slot gets a new interface. Two rows per slot.
#[map]
static TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(SLOTS * 2, 0);

/// Writer: tc, one add per CPU and millisecond. Reader: the agent, each window. Two rows per slot.
#[map]
static BURSTS: Array<Bursts> = Array::with_max_entries(SLOTS * 2, 0);

/// Writer: XDP. Reader: the agent, each window. One row per slot.
#[map]
static FRAMES: PerCpuArray<Frames> = PerCpuArray::with_max_entries(SLOTS, 0);

/// Counts a packet at tc.
#[inline(always)]
pub(crate) fn packet(ctx: &TcContext, direction: Direction) {
    // SAFETY: the context is the kernel's; the verifier rewrites the field accesses.
    let (ifindex, length, gso_segs) = unsafe {
        (
            (*ctx.skb.skb).ifindex,
            (*ctx.skb.skb).len,
            (*ctx.skb.skb).gso_segs,
        )
    };
    let Some(slot) = slot(ifindex) else { return };
    let Some(traffic) = TRAFFIC.get_ptr_mut(row(slot, direction)) else {
        return;
    };
    let bytes = u64::from(length);
    bump!(traffic, packets, 1);
    bump!(traffic, bytes, bytes);
    bump!(traffic, segments, u64::from(gso_segs.max(1)));
    // The compiler must not prove the bound away: the verifier can not follow its proof and wants to see the mask.
    let class = core::hint::black_box(size_class(length)) & (SIZE_CLASSES - 1);
    // SAFETY: the class lies within the array; the pointer comes from a map lookup.
    crate::shared::own::add(
        unsafe { (&raw mut (*traffic).sizes).cast::<u64>().add(class) },
        1,
    );
    burst(traffic, slot, direction, bytes);
}

/// Fills this CPU's millisecond, and hands it to the shared ring when it is over.
///
/// A nested run on the same CPU may lose or double one packet's bytes of a burst bin: bursts are an indicator, the counters above are exact.
#[inline(always)]
fn burst(traffic: *mut Traffic, slot: u32, direction: Direction, bytes: u64) {
    // SAFETY: helper without preconditions.
    let millisecond = unsafe { bpf_ktime_get_boot_ns() } / BURST_BIN_NS;
    // SAFETY: the pointer comes from a per-CPU map lookup: only this CPU writes it.
    unsafe {
        let filling = (*traffic).burst_ms;
        if filling == millisecond {
            (*traffic).burst_bytes += bytes;
            return;
        }
        let ended = (*traffic).burst_bytes;
        (*traffic).burst_ms = millisecond;
        (*traffic).burst_bytes = bytes;
        hand_over(row(slot, direction), filling, ended);
    }
}

/// Adds an ended millisecond to the interface's ring of bins.
#[inline(always)]
fn hand_over(row: u32, millisecond: u64, bytes: u64) {
    let Some(bursts) = BURSTS.get_ptr_mut(row) else {
        return;
    };
    let bin = (millisecond as usize) & (BURST_BINS - 1);
    let stamp = millisecond as u32;
    // SAFETY: the bin lies within the array; the pointer comes from a map lookup. Two CPUs that both find an old stamp may
    // lose one share of that millisecond: an indicator may be low, never high.
    unsafe {
        let bin = (&raw mut (*bursts).bins).cast::<u64>().add(bin);
        if burst_bin(core::ptr::read_volatile(bin)).0 == stamp {
            crate::shared::own::add(bin, bytes);
        } else {
            core::ptr::write_volatile(bin, u64::from(stamp) << 32 | bytes);
        }
    }
}

/// Counts a frame at XDP, and whether its headers are possible.
#[inline(always)]
pub(crate) fn frame(ctx: &XdpContext) {
    // SAFETY: the context is the kernel's; the verifier rewrites the field access.
    let ifindex = unsafe { (*ctx.ctx).ingress_ifindex };
    let Some(slot) = slot(ifindex) else { return };
    let Some(frames) = FRAMES.get_ptr_mut(slot) else {
        return;
    };
    let length = ctx.data_end() - ctx.data();
    bump!(frames, frames, 1);
    bump!(frames, bytes, length as u64);
    if !plausible(ctx) {
        bump!(frames, malformed, 1);
    }
}

/// Whether the frame is long enough for the headers it announces.
#[inline(always)]
fn plausible(ctx: &XdpContext) -> bool {
    let Some(ethertype) = load::<[u8; 2]>(ctx, 12) else {
        return false;
    };
    match u16::from_be_bytes(ethertype) {
        ETH_P_IP => load::<[u8; 20]>(ctx, ETH_HEADER).is_some_and(|header| {
            let header_bytes = usize::from(header[0] & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let there = ctx.data_end() - ctx.data() - ETH_HEADER;
            header[0] >> 4 == 4 && header_bytes >= 20 && total >= header_bytes && total <= there
        }),
        ETH_P_IPV6 => load::<[u8; 40]>(ctx, ETH_HEADER).is_some_and(|header| header[0] >> 4 == 6),
        _ => true,
    }
}

#[inline(always)]
fn load<T: Copy>(ctx: &XdpContext, offset: usize) -> Option<T> {
    within(ctx.data(), ctx.data_end(), offset)
}

#[inline(always)]
fn slot(ifindex: u32) -> Option<u32> {
    let slot = SLOT_OF.get(ifindex).copied().unwrap_or(0);
    if slot == 0 {
        note(Health::NoSlot);
    }
    slot.checked_sub(1)
}
