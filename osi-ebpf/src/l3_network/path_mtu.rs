//! The sign of a path that takes small packets and loses large ones in silence, a PMTUD black hole (RFC 2923 section 2.1):
//! a connection comes to be, and its first full-size segment never arrives.

use aya_ebpf::EbpfContext;
use osi_common::occurrence::{Key, Kind};

use crate::l4_transport::handshake::place;
use crate::shared::{
    occurrence::{count, send},
    read::Object,
    rodata::offset,
    sock::Sock,
};

/// `bytes_acked` counts the SYN as a byte.
const SYN: u64 = 1;
/// A segment is up to this much shorter than `mss_cache` where it carries options that come and go (`tcp_current_mss`).
const OPTIONS: u32 = 40;

/// Looks at a segment that was sent again.
#[inline(always)]
pub(crate) fn sent_again<C: EbpfContext>(ctx: &C, sock: Sock, segment: Object, netns: u32) {
    // The first time-out is everyday loss, and before it what was lost may be a probe.
    if sock.backoff() == 0 {
        return;
    }
    let mss = sock.mss();
    let length: u32 = segment.field(offset!(skb_len)).unwrap_or(0);
    let acked = sock.bytes_acked();
    if mss <= OPTIONS || length < mss - OPTIONS || acked >= u64::from(mss - OPTIONS) {
        return;
    }
    let (segments, bytes) = sock.in_flight();
    let smaller_behind =
        u64::from(bytes) + u64::from(OPTIONS) < u64::from(segments) * u64::from(length);
    let passed = match (sock.sacked(), smaller_behind) {
        (0, false) => false,
        (1, true) => true,
        // Nothing got through, not even what is smaller: an overloaded or lost peer. Or full-size ones did.
        (_, _) => return,
    };
    let key = Key {
        kind: Kind::FullSizeUnacked as u32,
        code: u32::from(passed || acked > SYN),
        netns,
        ifindex: 0,
        location: 0,
    };
    if count(ctx, &key, 1) {
        send(ctx, &key, |sample| place(sample, &sock.flow()));
    }
}
