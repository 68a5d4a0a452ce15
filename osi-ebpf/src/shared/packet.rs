//! The packet at hand, for the program of its protocol.
//!
//! Where things are in it lies in a per-CPU slot, and every use of it reads it from there: what a branch has taught the verifier of
//! a number does not stay with it, so that ways that part for a moment are one again behind it.

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock,
    helpers::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
    macros::map,
    maps::PerCpuArray,
    programs::TcContext,
};
use osi_common::interface::Direction;
use osi_common::occurrence::TCP_LISTEN;
use osi_common::wire::{Ends, FIRST_BYTES, NAME_BYTES, Payload, Role, UDP};

use super::ip::{AF_INET, AF_INET6, ETH_P_IP};
use super::read::{Bytes, fill, load};
use super::rodata::home_netns;
use super::sock::put_v4;

/// Where a TCP header has its flags, and those with which a side ends the connection, and says that it acknowledges anything.
pub(super) const TCP_FLAGS: u32 = 13;
pub(super) const FIN: u8 = 0x01;
pub(super) const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Where things are in the packet at hand, counted from its network header.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// A [`Direction`] as number.
    pub(super) direction: u32,
    pub(super) ethertype: u32,
    /// [`TCP`](osi_common::wire::TCP) or [`UDP`].
    pub(super) transport: u32,
    /// Where its header begins.
    pub(super) header: u32,
    /// Where the payload does.
    pub(super) payload: u32,
    /// Bytes from there on.
    pub(super) length: u32,
    /// Where the network header is, as [`load`] wants it.
    pub(super) start: u32,
    /// Place of the payload that the program is called for, and how many times it is called again.
    pub(super) next: u32,
    pub(super) again: u32,
    /// What the verifier is to forget.
    pub(super) put_through: u32,
}

/// Writer: the packet programs, and the programs of protocols. Reader: the program that is called next.
#[map]
pub(super) static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);

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
    ctx: &'a TcContext,
    seen: *mut Seen,
}

/// A field of what was handed over, read from there each time.
macro_rules! seen {
    ($packet:expr, $field:ident) => {{
        let seen = $packet.seen;
        // SAFETY: the pointer comes from a per-CPU map lookup, and nobody else writes there while programs of the packet run.
        unsafe { (&raw const (*seen).$field).read_volatile() }
    }};
}

impl<'a> Packet<'a> {
    /// The one that was handed on.
    #[inline(always)]
    pub(crate) fn at_hand(ctx: &'a TcContext) -> Option<Self> {
        let seen = SEEN.get_ptr_mut(0)?;
        Some(Self { ctx, seen })
    }

    /// Whether it leaves by the interface.
    #[inline(always)]
    pub(crate) fn leaves(self) -> bool {
        seen!(self, direction) == Direction::Tx as u32
    }

    /// [`TCP`](osi_common::wire::TCP) or [`UDP`].
    #[inline(always)]
    pub(crate) fn transport(self) -> u8 {
        seen!(self, transport) as u8
    }

    /// Bytes of its payload.
    #[inline(always)]
    pub(crate) fn length(self) -> u32 {
        seen!(self, length)
    }

    /// Its TCP header.
    #[inline(always)]
    pub(crate) fn segment(self) -> Option<Segment> {
        let header = self.bytes::<[u8; 10]>(seen!(self, header) + 4)?;
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
        Body(self)
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
        self.fill(seen!(self, payload), seen!(self, length), into)
    }

    /// Where the program is called for, and how many times it is called again; 0 and 0 at first.
    #[inline(always)]
    pub(crate) fn part(self) -> (u32, u32) {
        (seen!(self, next), seen!(self, again))
    }

    /// Notes down where the next run of the program begins.
    #[inline(always)]
    pub(super) fn go_on_at(self, at: u32) {
        let again = seen!(self, again);
        // SAFETY: as in `seen!`.
        unsafe {
            (*self.seen).next = at;
            (*self.seen).again = again + 1;
        }
    }

    /// A number of which the verifier knows nothing any more: where loops leave with a different length from each round, all that
    /// comes behind would be a program of its own for each.
    #[inline(always)]
    fn put_through(self, number: u32) -> u32 {
        // SAFETY: as in `seen!`.
        unsafe { (&raw mut (*self.seen).put_through).write_volatile(number) };
        seen!(self, put_through)
    }

    /// See [`fill`].
    #[inline(always)]
    fn fill<const N: usize>(self, at: u32, length: u32, into: &mut [u8; N]) -> bool {
        fill(self.ctx, seen!(self, start), at, length, into)
    }

    /// Writes both ends of the exchange that it is part of: who sent it asks, or is asked. False where they can not be read.
    #[inline(always)]
    pub(crate) fn ends(self, role: Role, asks: bool, into: &mut Ends) -> bool {
        let is_v4 = seen!(self, ethertype) == u32::from(ETH_P_IP);
        let Some([a, b, c, d]) = self.bytes::<[u8; 4]>(seen!(self, header)) else {
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
        let Some(address) = self.bytes::<[u8; 4]>(at) else {
            return false;
        };
        *into = [0; 16];
        put_v4(into, u32::from_ne_bytes(address));
        true
    }

    #[inline(always)]
    fn address_v6(self, at: u32, into: &mut [u8; 16]) -> bool {
        self.fill(at, 16, into)
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

impl Bytes for Packet<'_> {
    #[inline(always)]
    fn bytes<T: Copy>(self, offset: u32) -> Option<T> {
        load(self.ctx, seen!(self, start), offset)
    }
}

/// The payload of such a packet.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a>(Packet<'a>);

impl Body<'_> {
    /// Copies a name's bytes to where they belong, which is all zeros. False where nothing was copied.
    #[inline(always)]
    pub(crate) fn name(self, at: u32, length: u32, into: &mut [u8; NAME_BYTES]) -> bool {
        let Self(packet) = self;
        let (at, length) = (packet.put_through(at), packet.put_through(length));
        length > 0 && packet.fill(seen!(packet, payload) + at, length, into)
    }
}

impl Payload for Body<'_> {
    #[inline(always)]
    fn read<const N: usize>(self, at: u32) -> Option<[u8; N]> {
        let Self(packet) = self;
        packet.bytes(seen!(packet, payload) + at)
    }
}
