//! How long packets take through this host, from tc ingress to tc egress: routing and filtering, without the queue.
//!
//! Each CPU follows one packet at a time, which it takes up once in [`FORWARDED_ONE_IN`]: a packet is forwarded by the CPU that
//! received it. Where nothing is forwarded, the verifier leaves these lines out.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns, macros::map, maps::PerCpuArray, programs::TcContext,
};
use osi_common::latency::{FORWARDED_ONE_IN, Latency};

use crate::shared::{latency::record, rodata::forwards};

/// The packet that a CPU follows.
#[repr(C)]
struct Followed {
    /// Its address in the kernel; 0 where none is followed.
    packet: u64,
    /// When it was received.
    received_ns: u64,
    /// The interface it was received on.
    ifindex: u32,
    /// Packets that this CPU received.
    count: u32,
}

/// Writer: tc. Nobody else reads it.
#[map]
static FOLLOWED: PerCpuArray<Followed> = PerCpuArray::with_max_entries(1, 0);

/// A packet was received.
#[inline(always)]
pub(crate) fn received(ctx: &TcContext) {
    if !forwards() {
        return;
    }
    let Some(followed) = FOLLOWED.get_ptr_mut(0) else {
        return;
    };
    let packet = ctx.skb.skb as u64;
    // SAFETY: the pointer comes from a per-CPU map lookup: only this CPU writes it. Packets are received in softirq, which does
    // not nest. The context is the kernel's.
    unsafe {
        (*followed).count = (*followed).count.wrapping_add(1);
        if (*followed).count & (FORWARDED_ONE_IN - 1) == 0 {
            (*followed).received_ns = bpf_ktime_get_boot_ns();
            (*followed).ifindex = (*ctx.skb.skb).ifindex;
            (*followed).packet = packet;
        } else if (*followed).packet == packet {
            // The followed one has ended here, and this one has its place in memory.
            (*followed).packet = 0;
        }
    }
}

/// A packet is about to be queued for sending. One that this host made in the place of the followed one has come in nowhere.
#[inline(always)]
pub(crate) fn sent(ctx: &TcContext) {
    if !forwards() {
        return;
    }
    let Some(followed) = FOLLOWED.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: as above. A process that sends has switched softirqs off here (`__dev_queue_xmit`).
    unsafe {
        if (*followed).packet != ctx.skb.skb as u64 {
            return;
        }
        (*followed).packet = 0;
        if (*ctx.skb.skb).ingress_ifindex == (*followed).ifindex {
            let now = bpf_ktime_get_boot_ns();
            record(
                Latency::Forwarding,
                now.saturating_sub((*followed).received_ns),
            );
        }
    }
}
