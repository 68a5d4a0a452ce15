//! What is known of each connection, in storage of its own socket.

use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE, btf_maps::SkStorage, helpers::bpf_sk_storage_get,
    macros::btf_map,
};
use osi_common::handshake::PeerKey;
use osi_common::listener::ListenerKey;
use osi_common::occurrence::Health;

use crate::shared::{
    own::note,
    sock::{Flow, Sock},
};

/// This host accepted the connection: requests arrive on it.
pub(super) const ACCEPTED: u64 = 1;
/// This host opened it: answers arrive on it.
const OPENED: u64 = 2;

/// What is known of a connection. Without padding, as the kernel copies it from the stack.
#[repr(C)]
pub(super) struct Exchange {
    /// When the open wait began: of unread data for the application where it was accepted, of the application for an answer where
    /// it was opened. 0: nothing waits.
    pub(super) since_ns: u64,
    /// Accepted ones: when a read last left nothing unread; 0 once something was sent.
    pub(super) read_ns: u64,
    /// When it was established; 0 where that was before the record was made.
    pub(super) begun_ns: u64,
    /// [`ACCEPTED`] or [`OPENED`].
    pub(super) role: u64,
    /// Accepted ones: how far the application had read. Opened ones: how far it had written when data last arrived.
    pub(super) mark: u32,
    /// Accepted ones: how far data had arrived when that was noted. The end of the stream is none.
    pub(super) arrived: u32,
    /// Whose waits these are; of accepted ones the namespace and the local port.
    pub(super) peer: PeerKey,
}

impl Exchange {
    #[inline(always)]
    const fn new(role: u64, peer: PeerKey, begun_ns: u64) -> Self {
        Self {
            since_ns: 0,
            read_ns: 0,
            begun_ns,
            role,
            mark: 0,
            arrived: 0,
            peer,
        }
    }

    #[inline(always)]
    pub(super) const fn accepted(netns: u32, port: u16, begun_ns: u64) -> Self {
        Self::new(ACCEPTED, PeerKey::own_port(netns, port), begun_ns)
    }

    #[inline(always)]
    pub(super) const fn opened(netns: u32, flow: &Flow, begun_ns: u64) -> Self {
        let peer = PeerKey {
            netns,
            family: flow.family,
            port: flow.remote_port,
            address: flow.remote,
        };
        Self::new(OPENED, peer, begun_ns)
    }
}

/// Writer: this topic. Nobody else reads it. The kernel deletes a record with its socket.
#[btf_map]
static EXCHANGES: SkStorage<Exchange> = SkStorage::new();

/// A socket's record, made out of `first` where it has none: nobody sees one that is half made.
#[inline(always)]
pub(super) fn storage(sock: Sock, first: Option<&Exchange>) -> Option<*mut Exchange> {
    let flags = first.map_or(0, |_| BPF_SK_STORAGE_GET_F_CREATE);
    let first = first.map_or(core::ptr::null(), core::ptr::from_ref);
    let look = |flags: u32| {
        // SAFETY: the map and the socket are the kernel's; a first value is as long as the map's values, and is only read.
        unsafe {
            bpf_sk_storage_get(
                (&raw const EXCHANGES).cast_mut().cast(),
                sock.0.as_ptr().cast_mut().cast(),
                first.cast_mut().cast(),
                flags.into(),
            )
        }
    };
    let mut exchange = look(flags);
    if exchange.is_null() && flags != 0 {
        // Another CPU may have made it at the same moment.
        exchange = look(0);
        if exchange.is_null() {
            note(Health::Unfollowed);
        }
    }
    (!exchange.is_null()).then(|| exchange.cast())
}

/// The listening port of an accepted connection.
#[inline(always)]
pub(super) fn port(exchange: *mut Exchange) -> ListenerKey {
    // SAFETY: the pointer comes from the socket's storage; whose it is never changes.
    let (netns, port) = unsafe { ((*exchange).peer.netns, (*exchange).peer.port) };
    ListenerKey {
        netns,
        port: port.into(),
    }
}
