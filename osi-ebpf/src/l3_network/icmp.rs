//! ICMP and ICMPv6 errors on an interface: which, from whom, and about which packet.
//!
//! Per packet: two comparisons, and for packets as short as errors are, a look at the frame. No map is asked for what is no
//! error, and no helper where the frame is Ethernet's.
//!
//! A packet is counted on each interface that it passes, under that interface. What comes in on lo is this host's answer to
//! itself, which left by lo before: two kinds, so that neither is counted twice. A frame of a VLAN passes the VLAN's own
//! interface, too, and is left to it.

use aya_ebpf::programs::TcContext;
use osi_common::icmp;
use osi_common::interface::Direction;
use osi_common::occurrence::{Key, Kind, Sample};

use crate::shared::{
    ip::{ETH_P_IP, ETH_P_IPV6, describe, header_bytes, is_first, is_of_others, source_v4},
    occurrence::{count, send},
    read::{Bytes as _, NetworkHeader},
    rodata::home_netns,
    sock::put_v4,
};

const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;
/// Where the IPv4 header says what follows.
const PROTOCOL: usize = 9;
/// Where the IPv6 header does.
const NEXT_HEADER: usize = 6;
/// Bytes of the ICMP header; what follows is the packet that the message answers.
const HEADER: u32 = 8;
const V6_HEADER: u32 = 40;
/// An error quotes a packet up to this length (RFC 1812 4.3.2.3, RFC 4443 2.4), with a frame's header and VLAN tags.
const LONGEST: u32 = 576 + FRAME;
const LONGEST_V6: u32 = 1280 + FRAME;
const FRAME: u32 = 14 + 8;
/// An ICMP error in a packet.
struct Error {
    ethertype: u16,
    /// See [`icmp::number`].
    number: u32,
    /// Where the packet begins that it answers, from the network header.
    about: u32,
    sender: [u8; 16],
}

/// Counts a packet that is an ICMP error.
#[inline(always)]
pub(crate) fn packet(ctx: &TcContext, direction: Direction) {
    // SAFETY: the context is the kernel's; the verifier rewrites the field accesses.
    let (protocol, length) = unsafe { ((*ctx.skb.skb).protocol, (*ctx.skb.skb).len) };
    let found = match u16::from_be(protocol as u16) {
        ETH_P_IP if length <= LONGEST => v4(ctx),
        ETH_P_IPV6 if length <= LONGEST_V6 => v6(ctx),
        _ => None,
    };
    if let Some(error) = found {
        told(ctx, direction, &error);
    }
}

/// Whether an Ethernet frame shows at once that its IP packet carries another protocol than this one, which would stand at
/// this place of the IP header.
#[inline(always)]
fn carries_other(packet: NetworkHeader, (at, protocol): (usize, u8)) -> bool {
    packet
        .byte_of_a_frame(at)
        .is_some_and(|found| found != protocol)
}

#[inline(always)]
fn v4(ctx: &TcContext) -> Option<Error> {
    let packet = NetworkHeader::of(ctx, ETH_P_IP);
    if carries_other(packet, (PROTOCOL, IPPROTO_ICMP))
        || packet.bytes::<u8>(PROTOCOL as u32)? != IPPROTO_ICMP
    {
        return None;
    }
    let header: [u8; 20] = packet.bytes(0)?;
    if !is_first(&header) {
        return None;
    }
    let at = header_bytes(header[0]);
    let [kind, code] = packet.bytes(at)?;
    let mut sender = [0; 16];
    put_v4(&mut sender, source_v4(&header));
    Some(Error {
        ethertype: ETH_P_IP,
        number: icmp::number(false, kind, code)?,
        about: at + HEADER,
        sender,
    })
}

/// Without extension headers: errors have none.
#[inline(always)]
fn v6(ctx: &TcContext) -> Option<Error> {
    let packet = NetworkHeader::of(ctx, ETH_P_IPV6);
    if carries_other(packet, (NEXT_HEADER, IPPROTO_ICMPV6))
        || packet.bytes::<u8>(NEXT_HEADER as u32)? != IPPROTO_ICMPV6
    {
        return None;
    }
    let [kind, code] = packet.bytes(V6_HEADER)?;
    Some(Error {
        ethertype: ETH_P_IPV6,
        number: icmp::number(true, kind, code)?,
        about: V6_HEADER + HEADER,
        sender: packet.bytes(8)?,
    })
}

#[inline(always)]
fn told(ctx: &TcContext, direction: Direction, error: &Error) {
    if is_of_others(ctx, direction) {
        return;
    }
    // SAFETY: as above.
    let (ifindex, came_by) = unsafe { ((*ctx.skb.skb).ifindex, (*ctx.skb.skb).ingress_ifindex) };
    let kind = match direction {
        Direction::Rx => Kind::IcmpErrorReceived,
        // The interface that a packet came by stays with it until it leaves (`skb_iif`); what is made here has none.
        Direction::Tx if came_by != 0 => Kind::IcmpErrorForwarded,
        Direction::Tx => Kind::IcmpErrorSent,
    };
    let key = Key {
        kind: kind as u32,
        code: error.number,
        netns: home_netns(),
        ifindex,
        location: 0,
    };
    let is_new = count(ctx, &key, 1);
    // What is handed on has told its example when it came in.
    if is_new && !matches!(kind, Kind::IcmpErrorForwarded) {
        send(ctx, &key, |sample: &mut Sample| {
            sample.ethertype = error.ethertype;
            sample.sender = error.sender;
            let about = NetworkHeader::of(ctx, error.ethertype).at(error.about);
            describe(about, error.ethertype, sample);
        });
    }
}
