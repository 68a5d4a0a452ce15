//! What is known of each connection: in storage of its own socket, or in a table where kernels have none.

use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    btf_maps::SkStorage,
    helpers::bpf_sk_storage_get,
    macros::{btf_map, map},
    maps::HashMap,
};
use osi_common::exchange::MAX_CONNECTIONS;
use osi_common::handshake::PeerKey;
use osi_common::listener::ListenerKey;
use osi_common::occurrence::Health;

use crate::shared::{
    own::{note, swap},
    rodata::keeps_in_table,
    row::row,
    sock::{Flow, Sock},
};

/// This host accepted the connection: requests arrive on it.
pub(super) const ACCEPTED: u32 = 1;
/// This host opened it: answers arrive on it.
pub(super) const OPENED: u32 = 2;

/// What is known of a connection. Without padding, as the kernel copies it from the stack.
#[repr(C)]
pub(crate) struct Exchange {
    /// When the open wait began: of unread data for the application where it was accepted, of the application for an answer where
    /// it was opened. 0: nothing waits.
    pub(super) since_ns: u64,
    /// Accepted ones: when a read last left nothing unread; 0 once something was sent.
    pub(super) read_ns: u64,
    /// When it was established; 0 where that was before the record was made.
    pub(super) begun_ns: u64,
    /// [`ACCEPTED`] or [`OPENED`].
    pub(super) role: u32,
    /// Accepted ones: the number that the open wait has at its port. Opened ones: milliseconds between two sends since data last
    /// came back, the longest.
    pub(super) number: u32,
    /// Accepted ones: how far the application had read. Opened ones: how far it had written when data last arrived.
    pub(super) mark: u32,
    /// Accepted ones: how far data had arrived when that was noted. The end of the stream is none.
    pub(super) arrived: u32,
    /// Whose waits these are; of accepted ones the namespace and the local port.
    pub(super) peer: PeerKey,
}

impl Exchange {
    #[inline(always)]
    const fn new(role: u32, peer: PeerKey, begun_ns: u64) -> Self {
        Self {
            since_ns: 0,
            read_ns: 0,
            begun_ns,
            role,
            number: 0,
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

/// Where the records are, and how a value is put in one and the old one taken out.
pub(crate) trait Records {
    /// Whether a send is seen when the socket's lock is free again, beside data that arrives.
    const SENDS_BESIDE: bool;

    /// A socket's record, made out of `first` where it has none: nobody sees one that is half made.
    fn of(sock: Sock, first: Option<&Exchange>) -> Option<*mut Exchange>;

    /// Puts a value where it belongs in a record, and answers what was there.
    fn swap(place: *mut u64, value: u64) -> u64;
}

/// In storage of the sockets, for programs that kernels load which tell of data that arrives.
pub(crate) struct InSocket;

/// In a table by the sockets' addresses. All of its programs run under the lock of the socket: so a record is not taken away under
/// one of them, and nothing changes in it meanwhile.
pub(crate) struct InTable;

/// Writer: this topic. Nobody else reads it. The kernel deletes a record with its socket.
#[btf_map]
static EXCHANGES: SkStorage<Exchange> = SkStorage::new();

/// Writer: this topic, which deletes a record when its connection ends. Nobody else reads it. One entry where records are in their
/// sockets.
#[map]
static CONNECTIONS: HashMap<u64, Exchange> = HashMap::with_max_entries(MAX_CONNECTIONS, 0);

impl Records for InSocket {
    const SENDS_BESIDE: bool = true;

    #[inline(always)]
    fn of(sock: Sock, first: Option<&Exchange>) -> Option<*mut Exchange> {
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

    #[inline(always)]
    fn swap(place: *mut u64, value: u64) -> u64 {
        swap(place, value)
    }
}

impl Records for InTable {
    const SENDS_BESIDE: bool = false;

    #[inline(always)]
    fn of(sock: Sock, first: Option<&Exchange>) -> Option<*mut Exchange> {
        let key = sock.0.address();
        match first {
            Some(first) => row(&CONNECTIONS, &key, first, Health::Unfollowed),
            None => CONNECTIONS.get_ptr_mut(key),
        }
    }

    #[inline(always)]
    fn swap(place: *mut u64, value: u64) -> u64 {
        // SAFETY: the pointer comes from a map lookup, and the socket's lock is held.
        unsafe { place.replace(value) }
    }
}

/// The same for programs that serve either kind. A constant tells which: kernels that have no storage of sockets for such programs
/// never see the call for it.
#[inline(always)]
pub(super) fn of(sock: Sock, first: Option<&Exchange>) -> Option<*mut Exchange> {
    if keeps_in_table() {
        InTable::of(sock, first)
    } else {
        InSocket::of(sock, first)
    }
}

/// The connection has ended; storage of a socket goes with it.
#[inline(always)]
pub(super) fn forget(sock: Sock) {
    if keeps_in_table() {
        // Not there is as good.
        let _gone = CONNECTIONS.remove(sock.0.address());
    }
}

/// The listening port of an accepted connection.
#[inline(always)]
pub(super) fn port(exchange: *mut Exchange) -> ListenerKey {
    // SAFETY: the pointer comes from the socket's storage or its row; whose it is never changes.
    let (netns, port) = unsafe { ((*exchange).peer.netns, (*exchange).peer.port) };
    ListenerKey {
        netns,
        port: port.into(),
    }
}
