//! Hands packets of exchanges that are followed to the program of their protocol.
//!
//! Every packet is looked at: its IP protocol, whether anything follows the header, and then the first bytes of that. Ends of TCP
//! connections are handed on without any. All but
//! these last lie in the packet's first buffer as a rule. No map is asked before a protocol is told.
//!
//! Each protocol has a program of its own, which is called last (a tail call) and returns to nobody: its stack, its size and
//! what the verifier thinks of it are its own affair.

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock,
    helpers::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
    macros::map,
    maps::{PerCpuArray, ProgramArray},
    programs::TcContext,
};
use osi_common::interface::Direction;
use osi_common::occurrence::TCP_LISTEN;
use osi_common::quic::is_short;
use osi_common::wire::{
    Ends, FIRST_BYTES, NAME_BYTES, PROTOCOLS, Payload, Protocol, Role, TCP, UDP, protocol_of,
};

use super::ip::{AF_INET, AF_INET6, ETH_P_IP, ETH_P_IPV6, is_of_others, transport};
use super::pending::is_pending;
use super::read::{Bytes as _, NetworkHeader};
use super::rodata::{hands_on, home_netns};
use super::sock::put_v4;

/// Writer: the agent, one program per [`Protocol`] that the kernel took. Reader: the packet programs.
#[map]
static WIRE: ProgramArray = ProgramArray::with_max_entries(PROTOCOLS, 0);

/// Writer: the packet programs. Reader: the program that is called next.
#[map]
static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);

const UDP_HEADER: u32 = 8;
/// Where a TCP header says how long it is, in words of four bytes.
const TCP_LENGTH: u32 = 12;
/// Where its flags are, and those with which a side ends the connection, and says that it acknowledges anything.
const TCP_FLAGS: u32 = 13;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Where things are in the packet at hand, counted from its network header.
#[repr(C)]
#[derive(Clone, Copy)]
struct Seen {
    /// A [`Direction`] as number.
    direction: u32,
    ethertype: u32,
    /// [`TCP`] or [`UDP`].
    transport: u32,
    /// Where its header begins.
    header: u32,
    /// Where the payload does.
    payload: u32,
    /// Bytes from there on.
    length: u32,
}

/// Calls the program of the packet's protocol, if it has one. The last that a packet program does: it does not come back.
#[inline(always)]
pub(crate) fn hand_on(ctx: &TcContext, direction: Direction) {
    if !hands_on() {
        return;
    }
    let Some((protocol, seen)) = look(ctx, direction) else {
        return;
    };
    let Some(place) = SEEN.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the pointer comes from a per-CPU map lookup, and nothing else writes there until the program that is called now
    // has read it: softirqs are off on both ways. No value here needs to be dropped, so that not to come back leaves nothing.
    unsafe {
        *place = seen;
        WIRE.tail_call(ctx, protocol as u32);
        // The kernel did not take that program.
        if seen.length == 0 {
            WIRE.tail_call(ctx, Protocol::Http as u32);
        }
    }
}

/// Calls the program of HTTP for a packet at hand that ends a TCP connection and says nothing. The last that the program of TLS
/// does.
#[inline(always)]
pub(crate) fn hand_on_an_end(ctx: &TcContext) {
    if !hands_on() || Packet::at_hand(ctx).is_none_or(|packet| packet.length() > 0) {
        return;
    }
    // SAFETY: as above, and what is handed over is still there.
    unsafe {
        WIRE.tail_call(ctx, Protocol::Http as u32);
    }
}

/// What a packet is, where its payload begins like a protocol that is followed.
#[inline(always)]
fn look(ctx: &TcContext, direction: Direction) -> Option<(Protocol, Seen)> {
    // SAFETY: the context is the kernel's; the verifier rewrites the field accesses.
    let (ethertype, whole) = unsafe { ((*ctx.skb.skb).protocol, (*ctx.skb.skb).len) };
    let ethertype = u16::from_be(ethertype as u16);
    if ethertype != ETH_P_IP && ethertype != ETH_P_IPV6 {
        return None;
    }
    let network = NetworkHeader::of(ctx, ethertype);
    let (transport, header) = match network.transport_of_a_frame(ethertype) {
        Some(found) => found,
        None => transport(network, ethertype)?,
    };
    let payload = match transport {
        TCP => header + u32::from(network.near(header, TCP_LENGTH)? >> 4) * 4,
        UDP => header + UDP_HEADER,
        _ => return None,
    };
    let length = whole.saturating_sub(network.before() + payload);
    // A connection that ends concerns who waits for something on it.
    let is_last = transport == TCP && network.near(header, TCP_FLAGS)? & (FIN | RST) != 0;
    if length == 0 && !is_last || is_of_others(ctx, direction) {
        return None;
    }
    let mut first = [0; FIRST_BYTES];
    if length > 0 && !network.at(payload).fill(length, &mut first) {
        return None;
    }
    let protocol = match protocol_of(transport, &first) {
        None if is_last => Protocol::Tls,
        None if is_short(transport, &first) => {
            let from = [network.near(header, 0)?, network.near(header, 1)?];
            let leaves = matches!(direction, Direction::Tx);
            if !is_pending(u16::from_be_bytes(from), leaves) {
                return None;
            }
            Protocol::Quic
        }
        told => told?,
    };
    let seen = Seen {
        direction: direction as u32,
        ethertype: ethertype.into(),
        transport: transport.into(),
        header,
        payload,
        length,
    };
    Some((protocol, seen))
}

/// What a TCP header says beside the ports.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    /// Its place in what its sender sends.
    pub(crate) sequence: u32,
    /// What its sender has got.
    pub(crate) acknowledged: u32,
    flags: u8,
}

impl Segment {
    /// Whether its sender sends no more after it.
    #[inline(always)]
    pub(crate) fn is_last(self) -> bool {
        self.flags & (FIN | RST) != 0
    }

    /// Whether it says what its sender has got.
    #[inline(always)]
    pub(crate) fn acknowledges(self) -> bool {
        self.flags & ACK != 0
    }

    /// Whether it ends the connection at once.
    #[inline(always)]
    pub(crate) fn is_reset(self) -> bool {
        self.flags & RST != 0
    }
}

/// A packet of the protocol whose program runs.
#[derive(Clone, Copy)]
pub(crate) struct Packet<'a> {
    network: NetworkHeader<'a>,
    seen: Seen,
}

impl<'a> Packet<'a> {
    /// The one that was handed on.
    #[inline(always)]
    pub(crate) fn at_hand(ctx: &'a TcContext) -> Option<Self> {
        let seen = SEEN.get_ptr(0)?;
        // SAFETY: the pointer comes from a per-CPU map lookup, and the caller of this program wrote there last.
        let seen = unsafe { *seen };
        let network = NetworkHeader::of(ctx, seen.ethertype as u16);
        Some(Self { network, seen })
    }

    /// Whether it leaves by the interface.
    #[inline(always)]
    pub(crate) fn leaves(self) -> bool {
        self.seen.direction == Direction::Tx as u32
    }

    /// [`TCP`] or [`UDP`].
    #[inline(always)]
    pub(crate) fn transport(self) -> u8 {
        self.seen.transport as u8
    }

    /// Bytes of its payload.
    #[inline(always)]
    pub(crate) fn length(self) -> u32 {
        self.seen.length
    }

    /// Its TCP header.
    #[inline(always)]
    pub(crate) fn segment(self) -> Option<Segment> {
        let header = self.network.bytes::<[u8; 10]>(self.seen.header + 4)?;
        let (sequence, behind) = header.split_first_chunk()?;
        let (acknowledged, behind) = behind.split_first_chunk()?;
        let [_length, flags] = *behind else {
            return None;
        };
        Some(Segment {
            sequence: u32::from_be_bytes(*sequence),
            acknowledged: u32::from_be_bytes(*acknowledged),
            flags,
        })
    }

    /// Its payload.
    #[inline(always)]
    pub(crate) fn body(self) -> Body<'a> {
        Body(self.network.at(self.seen.payload))
    }

    /// The first bytes of that.
    #[inline(always)]
    pub(crate) fn first(self) -> Option<[u8; FIRST_BYTES]> {
        let mut first = [0; FIRST_BYTES];
        self.fill_first(&mut first).then_some(first)
    }

    /// The same where they belong, which is all zeros; the payload has at least one. False where they are not there.
    #[inline(always)]
    pub(crate) fn fill_first(self, into: &mut [u8; FIRST_BYTES]) -> bool {
        let body = self.network.at(self.seen.payload);
        body.fill(self.seen.length, into)
    }

    /// Writes both ends of the exchange that it is part of: who sent it asks, or is asked. False where they can not be read.
    #[inline(always)]
    pub(crate) fn ends(self, role: Role, asks: bool, into: &mut Ends) -> bool {
        let is_v4 = self.seen.ethertype == u32::from(ETH_P_IP);
        let Some([a, b, c, d]) = self.network.bytes::<[u8; 4]>(self.seen.header) else {
            return false;
        };
        let (from, to) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        into.server.netns = home_netns();
        into.server.family = if is_v4 { AF_INET } else { AF_INET6 };
        into.transport = self.transport();
        into.role = role as u8;
        let (source, destination) = if asks {
            (into.client_port, into.server.port) = (from, to);
            (&mut into.client, &mut into.server.address)
        } else {
            (into.client_port, into.server.port) = (to, from);
            (&mut into.server.address, &mut into.client)
        };
        if is_v4 {
            self.address_v4(12, source) && self.address_v4(16, destination)
        } else {
            self.address_v6(8, source) && self.address_v6(24, destination)
        }
    }

    #[inline(always)]
    fn address_v4(self, at: u32, into: &mut [u8; 16]) -> bool {
        let Some(address) = self.network.bytes::<[u8; 4]>(at) else {
            return false;
        };
        *into = [0; 16];
        put_v4(into, u32::from_ne_bytes(address));
        true
    }

    #[inline(always)]
    fn address_v6(self, at: u32, into: &mut [u8; 16]) -> bool {
        self.network.at(at).fill(16, into)
    }
}

/// `BPF_F_CURRENT_NETNS`: sockets of the packet's namespace.
const OF_THE_INTERFACE: u64 = u64::MAX;

/// Four bytes of an address as they lie in memory.
#[inline(always)]
fn word(address: &[u8; 16], index: usize) -> u32 {
    let at = 4 * index;
    u32::from_ne_bytes([
        address[at],
        address[at + 1],
        address[at + 2],
        address[at + 3],
    ])
}

/// An end of a connection: address and port.
pub(crate) type End<'a> = (&'a [u8; 16], u16);

/// Whether a packet from one end came for a socket that this host has at the other: one call, which takes a while. A listener of
/// TCP is none: anybody can send it a segment that belongs to nothing.
#[inline(always)]
pub(crate) fn is_for_us(
    ctx: &TcContext,
    transport: u8,
    family: u16,
    from: End<'_>,
    to: End<'_>,
) -> bool {
    let mut tuple = [0_u32; 9];
    let ports = u32::from(from.1.to_be()) | u32::from(to.1.to_be()) << 16;
    let size = if family == AF_INET {
        tuple[0] = word(from.0, 0);
        tuple[1] = word(to.0, 0);
        tuple[2] = ports;
        12
    } else {
        for index in 0..4 {
            tuple[index] = word(from.0, index);
            tuple[4 + index] = word(to.0, index);
        }
        tuple[8] = ports;
        36
    };
    // SAFETY: the helper reads as many bytes of the tuple as it is told, all of which are written, and answers with a socket
    // that is held until it is released, which is at once.
    unsafe {
        let (packet, tuple) = (ctx.as_ptr(), tuple.as_mut_ptr().cast());
        if transport == UDP {
            let socket = bpf_sk_lookup_udp(packet, tuple, size, OF_THE_INTERFACE, 0);
            if socket.is_null() {
                return false;
            }
            bpf_sk_release(socket.cast());
            return true;
        }
        let socket = bpf_skc_lookup_tcp(packet, tuple, size, OF_THE_INTERFACE, 0);
        if socket.is_null() {
            return false;
        }
        let state = (*socket.cast::<bpf_sock>()).state;
        bpf_sk_release(socket.cast());
        state != u32::from(TCP_LISTEN)
    }
}

/// The payload of such a packet.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a>(NetworkHeader<'a>);

impl Body<'_> {
    /// Copies a name's bytes to where they belong, which is all zeros. False where nothing was copied.
    #[inline(always)]
    pub(crate) fn name(self, at: u32, length: u32, into: &mut [u8; NAME_BYTES]) -> bool {
        length > 0 && self.0.at(at).fill(length, into)
    }
}

impl Payload for Body<'_> {
    #[inline(always)]
    fn read<const N: usize>(self, at: u32) -> Option<[u8; N]> {
        self.0.bytes(at)
    }
}
