//! A socket's identity: namespace, addresses, ports, state.

use osi_common::offsets::ABSENT;

use super::read::Object;
use super::rodata::offset;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Inode numbers of namespaces begin here: those of the initial ones are fixed (`PROC_*_INIT_INO`, `init_net` has one since 6.18),
/// the others follow from `PROC_DYNAMIC_FIRST`. Smaller ones come from misread memory.
const FIRST_NETNS: u32 = 0xefff_fff0;
/// Numbers are given out from below, so that 16 million of them are more than any host has; the upper halves of kernel pointers
/// lie above.
const LAST_NETNS: u32 = 0xf100_0000;

/// A `struct sock`.
#[derive(Clone, Copy)]
pub(crate) struct Sock(pub(crate) Object);

/// Addresses and ports of a connection, local side first. IPv4 in the first four bytes; IPv4-mapped IPv6 is IPv4.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) family: u16,
    pub(crate) local: [u8; 16],
    pub(crate) remote: [u8; 16],
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
}

impl Sock {
    /// Wraps a tracepoint's socket argument that is never null.
    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Option<Self> {
        Object::typed(pointer).map(Self)
    }

    /// Wraps a tracepoint's socket argument that can be null, see [`Object::untyped`].
    #[inline(always)]
    pub(crate) fn nullable(pointer: *const u8) -> Option<Self> {
        Object::untyped(pointer).map(Self)
    }

    /// Inode number of the socket's namespace, 0 when it can not be read.
    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        self.0.pointer(offset!(sock_net)).map_or(0, netns_of)
    }

    /// IP protocol number.
    #[inline(always)]
    pub(crate) fn protocol(self) -> u16 {
        self.0.field(offset!(sock_protocol)).unwrap_or(0)
    }

    /// TCP state.
    #[inline(always)]
    pub(crate) fn state(self) -> u8 {
        self.0.field(offset!(sock_state)).unwrap_or(0)
    }

    /// Pending error, a positive errno.
    #[inline(always)]
    pub(crate) fn error(self) -> u32 {
        self.0
            .field::<i32>(offset!(sock_err))
            .map_or(0, i32::unsigned_abs)
    }

    /// Inode number, as applications see it; 0 when it can not be read.
    #[inline(always)]
    pub(crate) fn inode(self) -> u64 {
        let (Some(socket), at, inode) = (
            self.0.pointer(offset!(sock_socket)),
            offset!(alloc_socket),
            offset!(alloc_inode),
        ) else {
            return 0;
        };
        if at == ABSENT || inode == ABSENT {
            return 0;
        }
        socket.probe(inode.wrapping_sub(at)).unwrap_or(0)
    }

    /// Local port, 0 when none was ever assigned.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        u16::from_be(self.0.probe(offset!(inet_sport)).unwrap_or(0))
    }

    /// Smoothed round-trip time in ns, 0 when the kernel has no sample yet. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn srtt_ns(self) -> u64 {
        let eighths_us = self.0.probe::<u32>(offset!(tcp_srtt_us)).unwrap_or(0);
        u64::from(eighths_us >> 3) * 1000
    }

    /// Smoothed round-trip time in 1/8 µs and the least one of the last minutes (`net.ipv4.tcp_min_rtt_wlen`) in µs, 0 for what
    /// can not be read. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn round_trip(self) -> (u32, u32) {
        let (samples, value) = (offset!(tcp_rtt_min), offset!(minmax_value));
        if samples == ABSENT || value == ABSENT {
            return (0, 0);
        }
        let field = |offset| self.0.probe::<u32>(offset).unwrap_or(0);
        // The first of the filter's three samples is its answer.
        (field(offset!(tcp_srtt_us)), field(samples + value))
    }

    /// Segments that were sent again so far: SYNs only, before the connection is established. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn sent_again(self) -> u32 {
        self.0.probe(offset!(tcp_total_retrans)).unwrap_or(0)
    }

    /// Largest payload of a segment in bytes, 0 when it can not be read. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn mss(self) -> u32 {
        self.0.probe(offset!(tcp_mss)).unwrap_or(0)
    }

    /// Payload bytes that the peer has acknowledged. Only for TCP sockets; what can not be read is taken for very many.
    #[inline(always)]
    pub(crate) fn bytes_acked(self) -> u64 {
        self.0.probe(offset!(tcp_bytes_acked)).unwrap_or(u64::MAX)
    }

    /// Segments that the peer has acknowledged out of order. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn sacked(self) -> u32 {
        self.0.probe(offset!(tcp_sacked_out)).unwrap_or(0)
    }

    /// Segments that were sent and are not acknowledged in order, and their bytes. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn in_flight(self) -> (u32, u32) {
        let field = |offset| self.0.probe::<u32>(offset).unwrap_or(0);
        let bytes = field(offset!(tcp_snd_nxt)).wrapping_sub(field(offset!(tcp_snd_una)));
        (field(offset!(tcp_packets_out)), bytes)
    }

    /// Retransmission time-outs, but for the one at hand, since the peer acknowledged anything new. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn backoff(self) -> u8 {
        self.0.probe(offset!(tcp_backoff)).unwrap_or(0)
    }

    /// Addresses and ports.
    #[inline(always)]
    pub(crate) fn flow(self) -> Flow {
        let family: u16 = self.0.field(offset!(sock_family)).unwrap_or(0);
        let mut flow = Flow {
            family,
            local: [0; 16],
            remote: [0; 16],
            local_port: self.local_port(),
            remote_port: u16::from_be(self.0.field(offset!(sock_dport)).unwrap_or(0)),
        };
        if family == AF_INET6 {
            self.0
                .probe_address(offset!(sock_v6_rcv_saddr), &mut flow.local);
            self.0
                .probe_address(offset!(sock_v6_daddr), &mut flow.remote);
            if mapped(&flow.remote) {
                flow.family = AF_INET;
                flow.local = unmapped(&flow.local);
                flow.remote = unmapped(&flow.remote);
            }
        } else {
            put_v4(
                &mut flow.local,
                self.0.field(offset!(sock_rcv_saddr)).unwrap_or_default(),
            );
            put_v4(
                &mut flow.remote,
                self.0.field(offset!(sock_daddr)).unwrap_or_default(),
            );
        }
        flow
    }
}

/// Inode number of a namespace, 0 when what was read can not be one.
#[inline(always)]
pub(crate) fn netns_of(net: Object) -> u32 {
    match net.field::<u32>(offset!(net_inum)) {
        Some(inum) if (FIRST_NETNS..LAST_NETNS).contains(&inum) => inum,
        Some(_) | None => 0,
    }
}

#[inline(always)]
fn mapped(address: &[u8; 16]) -> bool {
    matches!(address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..])
}

#[inline(always)]
fn unmapped(address: &[u8; 16]) -> [u8; 16] {
    let [.., a, b, c, d] = *address;
    let mut v4 = [0; 16];
    put_v4(&mut v4, u32::from_ne_bytes([a, b, c, d]));
    v4
}

#[inline(always)]
pub(crate) fn put_v4(address: &mut [u8; 16], v4: u32) {
    let [a, b, c, d] = v4.to_ne_bytes();
    address[0] = a;
    address[1] = b;
    address[2] = c;
    address[3] = d;
}
