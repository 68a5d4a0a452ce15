//! Hands packets of exchanges that are followed to the program of their protocol.
//!
//! Every packet is looked at: its IP protocol, whether anything follows the header, and then the first bytes of that. Ends of TCP
//! connections are handed on without any. All but
//! these last lie in the packet's first buffer as a rule. No map is asked before a protocol is told.
//!
//! Each protocol has a program of its own, which is called last (a tail call) and returns to nobody: its stack, its size and
//! what the verifier thinks of it are its own affair.

use aya_ebpf::{macros::map, maps::ProgramArray, programs::TcContext};
use osi_common::interface::Direction;
use osi_common::quic::is_short;
use osi_common::wire::{FIRST_BYTES, PROTOCOLS, Protocol, TCP, UDP, protocol_of};

use super::ip::{ETH_P_IP, ETH_P_IPV6, is_of_others, transport};
use super::packet::{FIN, Packet, RST, SEEN, Seen, TCP_FLAGS};
use super::pending::is_pending;
use super::read::NetworkHeader;
use super::rodata::hands_on;

/// Writer: the agent, one program per [`Protocol`] that the kernel took. Reader: the packet programs.
#[map]
static WIRE: ProgramArray = ProgramArray::with_max_entries(PROTOCOLS, 0);

const UDP_HEADER: u32 = 8;
/// Where a TCP header says how long it is, in words of four bytes.
const TCP_LENGTH: u32 = 12;

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
    // SAFETY: the pointer comes from a per-CPU map lookup, and nothing else writes there until the last program of the packet
    // ends: softirqs are off on both ways. No value here needs to be dropped, so that not to come back leaves nothing.
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

/// Calls the program of a protocol again, for what lies at another place of the packet at hand. The last that it does.
#[inline(always)]
pub(crate) fn hand_on_again(ctx: &TcContext, packet: Packet<'_>, protocol: Protocol, at: u32) {
    if !hands_on() {
        return;
    }
    packet.go_on_at(at);
    // SAFETY: as above, and what is handed over is still there.
    unsafe {
        WIRE.tail_call(ctx, protocol as u32);
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
        start: network.start(),
        next: 0,
        again: 0,
        put_through: 0,
    };
    Some((protocol, seen))
}
