//! Ports that are listened on: how long handshakes take there, and SYNs that find no socket any more.
//!
//! The agent makes a key for every port that it sees listened on, so that a scan of closed ports makes none.

use aya_ebpf::{EbpfContext, macros::map, maps::HashMap};
use aya_log_ebpf::warn;
use osi_common::histogram::Coarse;
use osi_common::listener::{ListenerKey, ListenerRecord, MAX_LISTENERS};
use osi_common::occurrence::Health;

use crate::shared::{latency::tally, own::bump, read::Bytes, row::row};

const IPPROTO_TCP: u8 = 6;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Writer: the agent, and accepted connections. Reader: the agent, each window. Deleter: the agent, ports of the past when room
/// is short. Full: noted in `HEALTH`.
#[map]
static LISTENERS: HashMap<ListenerKey, ListenerRecord> =
    HashMap::with_max_entries(MAX_LISTENERS, 0);

/// What a port begins with.
static NEW_LISTENER: ListenerRecord = ListenerRecord::ZERO;

/// A connection was accepted whose SYN-ACK was acknowledged after this time.
#[inline(always)]
pub(crate) fn accepted<C: EbpfContext>(ctx: &C, netns: u32, port: u16, handshake_ns: u64) {
    let key = ListenerKey {
        netns,
        port: u32::from(port),
    };
    let listener = row(&LISTENERS, &key, &NEW_LISTENER, Health::ListenersFull);
    let Some(listener) = listener else {
        warn!(ctx, "listener map full");
        return;
    };
    // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
    tally(
        unsafe { &raw mut (*listener).times },
        Coarse::slot(handshake_ns),
    );
}

/// A port's counters, where it has any.
#[inline(always)]
pub(crate) fn known(netns: u32, port: u16) -> Option<*mut ListenerRecord> {
    let key = ListenerKey {
        netns,
        port: u32::from(port),
    };
    LISTENERS.get_ptr_mut(key)
}

/// Whether somebody listens on a port, or did of late.
#[inline(always)]
pub(crate) fn is_known(netns: u32, port: u16) -> bool {
    known(netns, port).is_some()
}

/// A packet found no socket: a SYN for a port that was listened on is counted. Nothing else makes a key.
#[inline(always)]
pub(crate) fn refused(network: impl Bytes, transport_at: u32, protocol: u8, netns: u32) {
    if protocol != IPPROTO_TCP {
        return;
    }
    let Some(header) = network.bytes::<[u8; 14]>(transport_at) else {
        return;
    };
    if header[13] & (SYN | ACK | RST) != SYN {
        return;
    }
    let port = u16::from_be_bytes([header[2], header[3]]);
    if let Some(listener) = known(netns, port) {
        bump!(listener, refused, 1);
    }
}
