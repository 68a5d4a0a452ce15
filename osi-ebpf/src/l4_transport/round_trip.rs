//! Round-trip times of connections while they live: of one in [`ROUND_TRIP_ONE_IN`] packets that a CPU sends.
//!
//! The packet carries its socket, and the kernel's own copy of its times is read: no map of connections, no further hook. What
//! is forwarded, and what came out of another namespace, has no socket any more.

use aya_ebpf::{helpers::bpf_tcp_sock, macros::map, maps::PerCpuArray, programs::TcContext};
use osi_common::latency::{Latency, ROUND_TRIP_ONE_IN};

use crate::shared::latency::record;

/// Packets sent by a CPU. Writer: tc egress. Nobody else reads it.
#[map]
static SENT: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// A packet is about to be queued for sending.
#[inline(always)]
pub(crate) fn sent(ctx: &TcContext) {
    let Some(count) = SENT.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the pointer comes from a per-CPU map lookup: only this CPU writes it, with softirqs off (`__dev_queue_xmit`).
    let number = unsafe {
        *count = (*count).wrapping_add(1);
        *count
    };
    if number & (ROUND_TRIP_ONE_IN - 1) != 0 {
        return;
    }
    // SAFETY: the context is the kernel's; the verifier rewrites the access to the socket pointer.
    let sock = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sock.is_null() {
        return;
    }
    // SAFETY: the verifier has seen that the socket is there; the helper answers null for what is no whole TCP socket.
    let tcp = unsafe { bpf_tcp_sock(sock) };
    if tcp.is_null() {
        return;
    }
    // SAFETY: not null, and the verifier rewrites the accesses to the fields.
    let (smoothed, least_us) = unsafe { ((*tcp).srtt_us, (*tcp).rtt_min) };
    times(smoothed, least_us);
}

/// Takes a connection's smoothed time, in 1/8 µs, and its least one, where it has both.
#[inline(always)]
pub(crate) fn times(smoothed: u32, least_us: u32) {
    let smoothed_us = smoothed >> 3;
    // Neither 0 nor the largest number is a time: no segment of this side was acknowledged yet.
    if smoothed_us > 0 && least_us > 0 && least_us < u32::MAX {
        record(Latency::RoundTrip, u64::from(smoothed_us) * 1000);
        record(Latency::LeastRoundTrip, u64::from(least_us) * 1000);
    }
}
