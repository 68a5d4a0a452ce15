//! Latency histograms.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use osi_common::histogram::{Coarse, LatencyHistogram};
use osi_common::latency::{LATENCIES, Latency};

use super::own::{add, bump};

/// Writer: the topics. Reader: the agent, each window. One slot per [`Latency`].
#[map]
static LATENCY: PerCpuArray<LatencyHistogram> = PerCpuArray::with_max_entries(LATENCIES, 0);

/// Adds one completion.
#[inline(always)]
pub(crate) fn record(latency: Latency, ns: u64) {
    let Some(histogram) = LATENCY.get_ptr_mut(latency as u32) else {
        return;
    };
    let slot = LatencyHistogram::slot(ns);
    // SAFETY: the slot lies within the histogram, by the type's contract and by the verifier's own check.
    add(
        unsafe { (&raw mut (*histogram).slots).cast::<u64>().add(slot) },
        1,
    );
    bump!(histogram, sum_ns, ns);
}

/// Adds one duration to the slot of a histogram in a map's value.
#[inline(always)]
pub(crate) fn tally(times: *mut Coarse, slot: usize) {
    // SAFETY: the slot lies within the histogram, by `Coarse::slot` and by the verifier's own check.
    add(
        unsafe { (&raw mut (*times).slots).cast::<u64>().add(slot) },
        1,
    );
}
