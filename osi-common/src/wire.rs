//! Exchanges of known protocols, as they pass an interface: what the parsers have in common.
//!
//! A parser is pure and never allocates. It asks a [`Payload`] for bytes by their place: a packet in the kernel, a slice in the
//! tests. So the same lines run on both sides of the boundary, and what is fuzzed is what the kernel runs.

use crate::handshake::PeerKey;
use crate::http;
use crate::pod::kernel_struct;
use crate::{dns, quic, tls};

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// Bytes of a payload by which a protocol is told; where there are fewer, zeros stand in for the rest.
pub const FIRST_BYTES: usize = 16;

/// Bytes of a name that may leave the kernel, of which a longer one keeps the first.
pub const NAME_BYTES: usize = 64;

/// What a packet carries behind its TCP or UDP header.
pub trait Payload: Copy {
    /// Bytes at a place; `None` where the payload ends before.
    fn read<const N: usize>(self, at: u32) -> Option<[u8; N]>;
}

impl Payload for &[u8] {
    #[inline(always)]
    fn read<const N: usize>(self, at: u32) -> Option<[u8; N]> {
        self.get(at as usize..)?.first_chunk().copied()
    }
}

/// A protocol whose exchanges are followed: its place in the array of programs that packets are handed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Protocol {
    /// Names and their addresses (RFC 1035), over UDP and TCP.
    Dns = 0,
    /// Handshakes of TLS (RFC 8446), over TCP.
    Tls = 1,
    /// Requests and answers of HTTP/1 (RFC 9112), over TCP.
    Http = 2,
    /// Handshakes of QUIC (RFC 9000), over UDP.
    Quic = 3,
}

/// Number of [`Protocol`]s.
pub const PROTOCOLS: u32 = 4;

/// The protocol that a payload belongs to, by its first bytes and not by the ports: a handful of comparisons, no look-up.
#[inline(always)]
pub fn protocol_of(transport: u8, first: &[u8; FIRST_BYTES]) -> Option<Protocol> {
    if tls::is_likely(transport, first) {
        return Some(Protocol::Tls);
    }
    if quic::is_likely(transport, first) {
        return Some(Protocol::Quic);
    }
    if dns::is_likely(transport, first) {
        return Some(Protocol::Dns);
    }
    http::message(transport, first).map(|_| Protocol::Http)
}

/// On which side of an exchange this host stands, as one of its interfaces shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Requests leave by the interface, answers come in: this host asks, or hands on what its containers ask.
    Asking = 0,
    /// Requests come in by the interface, answers leave: this host serves, or hands on to a container that does.
    Serving = 1,
}

kernel_struct! {
    /// Both ends of an exchange: the key of what is in flight.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct Ends {
        /// Who is asked.
        pub server: PeerKey,
        /// Who asks: IPv4 in the first four bytes.
        pub client: [u8; 16],
        /// Its port, host order.
        pub client_port: u16,
        /// [`TCP`] or [`UDP`].
        pub transport: u8,
        /// A [`Role`] as number: over lo both sides pass the same interface.
        pub role: u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_ends_where_it_ends() {
        let payload = &b"abc"[..];
        assert_eq!(payload.read::<2>(1), Some(*b"bc"));
        assert_eq!(payload.read::<2>(2), None);
        assert_eq!(payload.read::<1>(u32::MAX), None);
        assert_eq!(payload.read::<0>(3), Some([]));
    }
}
