//! A socket's identity: namespace, addresses, ports, state.

use osi_common::occurrence::TCP_CLOSE_WAIT;
use osi_common::offsets::ABSENT;

use super::read::Object;
use super::rodata::offset;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Of `enum socket_state`.
const SS_CONNECTING: u32 = 2;
const IPPROTO_TCP: u16 = 6;
/// Inode numbers of namespaces begin here: those of the initial ones are fixed (`PROC_*_INIT_INO`, `init_net` has one since 6.18),
/// the others follow from `PROC_DYNAMIC_FIRST`. Smaller ones come from misread memory.
const FIRST_NETNS: u32 = 0xefff_fff0;
/// Numbers are given out from below, so that 16 million of them are more than any host has; the upper halves of kernel pointers
/// lie above.
const LAST_NETNS: u32 = 0xf100_0000;

/// Payload that moved less than a second ago is part of what is going on.
const RECENT_US: u64 = 1_000_000;
/// More than a closing alert of TLS takes: 24 bytes in 1.3, up to 85 in 1.2.
const FAREWELL_BYTES: u32 = 96;

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

    /// Wraps the socket of a callback's context, see [`Object::of_context`].
    #[inline(always)]
    pub(crate) fn of_context(pointer: *const u8) -> Option<Self> {
        Object::of_context(pointer).map(Self)
    }

    /// The same socket with the fields of TCP, of which the verifier then knows the types; `None` for any other.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<Object> {
        self.0.tcp()
    }

    /// Whether it is one of TCP, over IPv4 or IPv6: other families have protocols of the same number.
    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        let family: u16 = self.0.field(offset!(sock_family)).unwrap_or(0);
        (family == AF_INET || family == AF_INET6) && self.protocol() == IPPROTO_TCP
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

    /// The error that it ends with if all attempts are in vain, a positive errno.
    #[inline(always)]
    pub(crate) fn soft_error(self) -> u32 {
        self.0
            .field::<i32>(offset!(sock_err_soft))
            .map_or(0, i32::unsigned_abs)
    }

    /// Whether it has lost its route: it remembers none, and after some time-outs nothing could be sent. IPv6 forgets the route
    /// at each time-out, so that the first alone tells nothing. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn has_lost_route(self) -> bool {
        let timeouts: u8 = self.0.probe(offset!(tcp_timeouts)).unwrap_or(u8::MAX);
        let route: u64 = self.0.probe(offset!(sock_route)).unwrap_or(u64::MAX);
        route == 0 && u32::from(timeouts) > self.sent_again()
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

    /// Whether `connect()` has returned, and nothing is connected yet (`__inet_stream_connect`).
    #[inline(always)]
    pub(crate) fn is_connecting(self) -> bool {
        let socket = self.0.pointer(offset!(sock_socket));
        let state = socket.and_then(|socket| socket.probe::<u32>(offset!(socket_state)));
        state == Some(SS_CONNECTING)
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

    /// Whether the other end said that it sends no more and this side answered with a few bytes at most: the farewells of TLS cross,
    /// and whoever has closed resets the one that comes late. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn says_farewell(self) -> bool {
        self.state() == TCP_CLOSE_WAIT && self.in_flight().1 <= FAREWELL_BYTES
    }

    /// Whether something was going on between this side, which connected, and the other one when the segment at hand arrived:
    /// payload was exchanged, and either none has come since this side last sent some, or some moved within the last second.
    /// Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn is_busy(self) -> bool {
        let figure = |offset| self.0.probe::<u64>(offset).unwrap_or(0);
        if figure(offset!(tcp_bytes_received)) | figure(offset!(tcp_bytes_sent)) == 0 {
            return false;
        }
        let tick = |offset| self.0.probe::<u32>(offset).unwrap_or(0);
        let awaited = tick(offset!(tcp_lsndtime)).wrapping_sub(tick(offset!(csk_lrcvtime)));
        // Ticks wrap: what is not behind the other one is at most half a turn before it.
        if awaited.wrapping_sub(1) < u32::MAX / 2 {
            return true;
        }
        self.is_recent(offset!(tcp_delivered_mstamp)) || self.is_recent(offset!(tcp_read_mstamp))
    }

    /// Whether something that this side sent was acknowledged within the last second. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn was_heard(self) -> bool {
        self.is_recent(offset!(tcp_delivered_mstamp))
    }

    /// Whether one of the socket's times is less than a second before the segment at hand.
    #[inline(always)]
    fn is_recent(self, time: u32) -> bool {
        let figure = |offset| self.0.probe::<u64>(offset).unwrap_or(0);
        figure(offset!(tcp_mstamp)).saturating_sub(figure(time)) < RECENT_US
    }

    /// Whether this side, which was connected to, owes the other one something: a request came after it last sent anything, or
    /// what it sent is not acknowledged. Only for TCP sockets.
    #[inline(always)]
    pub(crate) fn owes(self) -> bool {
        let tick = |offset| self.0.probe::<u32>(offset).unwrap_or(0);
        let unanswered = tick(offset!(csk_lrcvtime)).wrapping_sub(tick(offset!(tcp_lsndtime)));
        let figure = |offset| self.0.probe::<u64>(offset).unwrap_or(0);
        // A first request may come in the tick of the handshake, which is noted as when something was sent. Ticks wrap, as above.
        let is_first = figure(offset!(tcp_bytes_sent)) == 0;
        let is_later = unanswered.wrapping_sub(1) < u32::MAX / 2;
        let asks = figure(offset!(tcp_bytes_received)) > 0 && (is_first || is_later);
        asks || self.in_flight().1 > 0
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
