//! Long headers of QUIC (RFC 9000 17.2, RFC 9369 3.2): they carry its handshakes, and all that follows one has short headers.
//!
//! What they carry is encrypted, and here left so. Several packets may share a datagram (RFC 9000 12.2).

use crate::pod::counters;
use crate::wire::{FIRST_BYTES, Payload, UDP};

/// Version 1 (RFC 9000).
pub const V1: u32 = 1;
/// Version 2 (RFC 9369): its kinds of packets have other numbers.
pub const V2: u32 = 0x6b33_43cf;
/// Its draft, which is in use as well.
const V2_DRAFT: u32 = 0x709a_50c4;
/// The drafts of version 1 (RFC 9000 15), which are `0xff0000` and the draft's number.
const DRAFTS: u32 = 0xff_0000;

/// What tells a long header from a short one. The bit behind it, which is fixed, may be cleared (RFC 9287).
const LONG: u8 = 0x80;

/// Where a long header says how long the id is of who gets it, and where that begins.
const RECEIVER: usize = 5;
/// The least length of what a client takes for the id of a server that it has not heard (RFC 9000 7.2).
const MADE_UP: u8 = 8;

/// Bytes of the datagram with which a client begins, at least (RFC 9000 14.1). Servers drop shorter ones.
const FIRST_DATAGRAM: u32 = 1200;

/// Packets of a datagram that are looked at: a side's last hello, the rest of its handshake, and its first data.
const MAX_PACKETS: u32 = 3;

/// QUIC handshakes in flight that can be followed at once, apart from those of TLS: anybody can begin one with a single datagram.
pub const MAX_HANDSHAKES: u32 = 2048;

/// Ids of clients that are remembered, so that what is sent to one of them is known to be no client's: of those in flight, and of
/// what begins in the two windows until one that is over is forgotten.
pub const MAX_CLIENTS: u32 = 8192;

/// Slots of clients' ports: a datagram of data is looked at only where a handshake is in flight in the slot of its port.
pub const PENDING_SLOTS: u32 = 8192;

/// The slot of a client's port. What ends a handshake leaves by the interface where this host asks, and comes in where it serves.
#[inline(always)]
pub fn pending_slot(port: u16, leaves: bool) -> u32 {
    (u32::from(port) << 1 | u32::from(leaves)) & (PENDING_SLOTS - 1)
}

counters! {
    /// Handshakes at the ports of a slot. Those that the agent gave up are counted by it, in another map.
    pub struct Pending {
        /// Begun.
        pub begun,
        /// Ended in the kernel.
        pub ended,
    }
}

/// The kind of a packet, as a bit: what a datagram carries is the sum of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Packet {
    /// The first of either side: hellos.
    Initial = 1,
    /// Data of the client before it has heard anything (0-RTT).
    Early = 2,
    /// The rest of the handshake.
    Handshake = 4,
    /// The server wants to hear from the client again before it does anything.
    Retry = 8,
    /// The server does not speak the client's version (RFC 9000 17.2.1).
    Negotiation = 16,
    /// Data: its sender's part of the handshake is over.
    Short = 32,
    /// None of these.
    Other = 0,
}

impl Packet {
    /// The packet that begins with these bytes. Zeros are none, but fill up a datagram.
    #[inline(always)]
    pub const fn of(first: [u8; 5]) -> Self {
        let [form, version @ ..] = first;
        let version = u32::from_be_bytes(version);
        if form & LONG == 0 {
            return Self::short(form, version);
        }
        if version == 0 {
            return Self::Negotiation;
        }
        if !is_known(version) {
            return Self::Other;
        }
        match numbered(form, version) {
            1 => Self::Initial,
            2 => Self::Early,
            4 => Self::Handshake,
            _ => Self::Retry,
        }
    }

    /// One without a version.
    #[inline(always)]
    const fn short(form: u8, rest: u32) -> Self {
        if form == 0 && rest == 0 {
            Self::Other
        } else {
            Self::Short
        }
    }

    /// Whether it says how long it is, so that another one may follow.
    #[inline(always)]
    const fn has_length(self) -> bool {
        matches!(self, Self::Initial | Self::Early | Self::Handshake)
    }
}

/// The bit of a kind by its number in a long header of this version: version 2 counts from the one before.
#[inline(always)]
const fn numbered(form: u8, version: u32) -> u32 {
    let is_second = version == V2 || version == V2_DRAFT;
    1 << ((form >> 4).wrapping_sub(is_second as u8) & 3)
}

const fn is_known(version: u32) -> bool {
    matches!(version, V1 | V2 | V2_DRAFT) || version >> 8 == DRAFTS
}

/// The version in a long header; 0 asks for another one.
#[inline(always)]
pub fn version(first: &[u8; FIRST_BYTES]) -> u32 {
    u32::from_be_bytes([first[1], first[2], first[3], first[4]])
}

#[inline(always)]
fn begins(first: &[u8; FIRST_BYTES]) -> Packet {
    Packet::of([first[0], first[1], first[2], first[3], first[4]])
}

/// Whether a payload begins with a long header.
#[inline(always)]
pub fn is_likely(transport: u8, first: &[u8; FIRST_BYTES]) -> bool {
    transport == UDP && !matches!(begins(first), Packet::Short | Packet::Other)
}

/// Whether it may begin with a short one, as half of all else does: a single bit tells.
#[inline(always)]
pub fn is_short(transport: u8, first: &[u8; FIRST_BYTES]) -> bool {
    transport == UDP && first[0] & LONG == 0
}

/// Whether a datagram of so many bytes may be a client's first, given what it carries: only a server has more to say than a hello
/// before it has heard anything. A server's hello that stands alone may be one as well, unless its client has a short id; that
/// client's id tells (see [`receiver`]).
#[inline(always)]
pub fn is_first(first: &[u8; FIRST_BYTES], length: u32, carried: u32) -> bool {
    let said = carried & (Packet::Initial as u32 | Packet::Handshake as u32);
    let is_hello = said == Packet::Initial as u32;
    is_hello && length >= FIRST_DATAGRAM && first[RECEIVER] >= MADE_UP
}

/// The first eight bytes of the id of who gets the packet of a long header that has as many.
#[inline(always)]
pub fn receiver(first: &[u8; FIRST_BYTES]) -> [u8; 8] {
    let [_, _, _, _, _, _, id @ .., _, _] = *first;
    id
}

/// The same of who sent it; zeros where it has no more.
#[inline(always)]
pub fn sender(payload: impl Payload, first: &[u8; FIRST_BYTES]) -> [u8; 8] {
    let at = RECEIVER as u32 + 1 + u32::from(first[RECEIVER]);
    match payload.read::<9>(at) {
        Some([length, id @ ..]) if length >= 8 => id,
        Some(_) | None => [0; 8],
    }
}

/// Whether a datagram that begins with a short header goes to who has this id: to anybody where that is not known.
#[inline(always)]
pub fn is_to(first: &[u8; FIRST_BYTES], id: u32) -> bool {
    id == 0 || id == u32::from_be_bytes([first[1], first[2], first[3], first[4]])
}

/// What a datagram carries that begins like this, as the sum of its [`Packet`]s; what lies behind one without a length is not
/// told. Next to no branches: each doubles what the verifier has to look at, for every packet.
#[inline(always)]
pub fn carried(payload: impl Payload, first: &[u8; FIRST_BYTES]) -> u32 {
    let (begins, version) = (begins(first), version(first));
    let (mut at, mut sum, mut kind) = (0, begins as u32, begins as u32);
    if !begins.has_length() {
        return sum;
    }
    for _ in 1..MAX_PACKETS {
        at = behind(payload, at, kind);
        let Some([form, same @ ..]) = (at > 0).then(|| payload.read::<5>(at)).flatten() else {
            return sum;
        };
        let same = u32::from_be_bytes(same);
        if form & LONG == 0 {
            return sum | Packet::short(form, same) as u32;
        }
        if same != version {
            return sum;
        }
        kind = numbered(form, version);
        sum |= kind;
        if kind == Packet::Retry as u32 {
            return sum;
        }
    }
    sum
}

/// Where the packet ends that begins at a place; 0 where it does not say so.
#[inline(always)]
fn behind(payload: impl Payload, at: u32, kind: u32) -> u32 {
    let mut at = at + 5;
    for _ in 0..2 {
        let Some([id]) = payload.read(at) else {
            return 0;
        };
        at += 1 + u32::from(id);
    }
    if kind == Packet::Initial as u32 {
        // A token of the server's.
        at = behind_counted(payload, at);
        if at == 0 {
            return 0;
        }
    }
    behind_counted(payload, at)
}

/// Where that ends which begins with its length, in one, two or four bytes (RFC 9000 16), of which there are four in any packet; 0
/// where it has none that a datagram could have.
#[inline(always)]
fn behind_counted(payload: impl Payload, at: u32) -> u32 {
    let Some(word) = payload.read(at).map(u32::from_be_bytes) else {
        return 0;
    };
    // The first two bits say how many there are.
    let bytes = 1 << (word >> 30);
    let length = (word & 0x3fff_ffff) >> (32_u32.saturating_sub(8 * bytes));
    if bytes > 4 || length > u32::from(u16::MAX) {
        return 0;
    }
    at + bytes + length
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// A packet with ids of eight bytes, and a body of so many.
    fn long(form: u8, version: u32, token: &[u8], body: usize) -> Vec<u8> {
        let mut bytes = vec![form];
        bytes.extend(version.to_be_bytes());
        bytes.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend(token);
        bytes.extend((0x4000 | body as u16).to_be_bytes());
        bytes.extend(vec![0xff; body]);
        bytes
    }

    fn first(bytes: &[u8]) -> [u8; FIRST_BYTES] {
        let mut first = [0; FIRST_BYTES];
        let there = bytes.len().min(FIRST_BYTES);
        first[..there].copy_from_slice(&bytes[..there]);
        first
    }

    fn of(bytes: &[u8]) -> u32 {
        carried(bytes, &first(bytes))
    }

    const INITIAL: u32 = Packet::Initial as u32;
    const HANDSHAKE: u32 = Packet::Handshake as u32;

    #[test]
    fn kinds_have_the_numbers_of_their_version() {
        let of = |form, version: u32| {
            let [a, b, c, d] = version.to_be_bytes();
            Packet::of([form, a, b, c, d])
        };
        let kinds = [
            Packet::Initial,
            Packet::Early,
            Packet::Handshake,
            Packet::Retry,
        ];
        for (number, kind) in kinds.into_iter().enumerate() {
            let form = |number: usize| 0xc0 | (number as u8) << 4;
            assert_eq!(of(form(number), V1), kind);
            assert_eq!(of(form(number), 0xff00_001d), kind);
            for version in [V2, V2_DRAFT] {
                assert_eq!(of(form((number + 1) % 4), version), kind);
            }
        }
        assert_eq!(of(0x80, 0), Packet::Negotiation);
        // To who wants to see the fixed bit cleared.
        assert_eq!(of(0xa0, V1), Packet::Handshake);
        for form in [0x40, 0] {
            assert_eq!(of(form, V1), Packet::Short);
        }
        for (form, version) in [(0xc0, 7), (0, 0)] {
            assert_eq!(of(form, version), Packet::Other);
        }
    }

    #[test]
    fn a_datagram_carries_all_that_says_where_it_ends() {
        let hello = long(0xc3, V1, &[0], 1150);
        assert_eq!(of(&hello), INITIAL);
        let begin = first(&hello);
        assert!(is_likely(UDP, &begin) && !is_short(UDP, &begin));
        assert!(is_first(&begin, 1200, INITIAL) && !is_first(&begin, 1199, INITIAL));
        assert!(!is_first(&begin, 1200, INITIAL | HANDSHAKE));
        let mut short_id = begin;
        short_id[5] = 7;
        assert!(!is_first(&short_id, 1200, INITIAL));
        let with_token = long(0xc3, V1, &[3, 9, 9, 9], 60);
        let rest = long(0xe3, V1, &[], 40);
        let data = [0x42; 30];
        let all = [&with_token[..], &rest, &data].concat();
        let short = Packet::Short as u32;
        assert_eq!(of(&all), INITIAL | HANDSHAKE | short);
        assert_eq!(of(&all[..all.len() - 30]), INITIAL | HANDSHAKE);
        // Zeros fill a datagram up.
        let padded = [&hello[..], &[0; 50]].concat();
        assert_eq!(of(&padded), INITIAL);
    }

    #[test]
    fn ids_tell_who_is_meant() {
        let hello = long(0xc3, V1, &[0], 1150);
        let begin = first(&hello);
        assert_eq!(receiver(&begin), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(sender(&hello[..], &begin), [1, 2, 3, 4, 5, 6, 7, 8]);
        let mut short_id = hello;
        short_id[14] = 7;
        assert_eq!(sender(&short_id[..], &begin), [0; 8]);
        let data = first(&[0x40, 1, 2, 3, 4, 9]);
        assert!(is_to(&data, 0x0102_0304) && is_to(&data, 0) && !is_to(&data, 5));
    }

    #[test]
    fn what_makes_no_sense_carries_no_more() {
        let mut id = long(0xc3, V1, &[0], 20);
        id[5] = 255;
        let huge = long(0xc3, V1, &[0x80, 1, 0, 0], 20);
        let eight = long(0xc3, V1, &[0xc0, 0, 0, 0, 0, 0, 0, 1], 20);
        let cut = &long(0xc3, V1, &[0], 20)[..12];
        for bytes in [&id[..], &huge, &eight, cut] {
            assert_eq!(of(bytes), INITIAL);
        }
        assert_eq!(of(b""), 0);
        assert!(!is_likely(crate::wire::TCP, &first(&id)));
    }
}
