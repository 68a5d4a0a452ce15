//! What a packet's own headers say: addresses, protocol and ports, source as local side.

use aya_ebpf::programs::TcContext;
use osi_common::interface::Direction;
use osi_common::occurrence::Sample;
use osi_common::wire::{TCP, UDP};

use super::read::Bytes;
use super::sock::put_v4;

/// Bytes of an Ethernet header without a tag.
pub(crate) const ETH_HEADER: usize = 14;
pub(crate) const ETH_P_IP: u16 = 0x0800;
pub(crate) const ETH_P_IPV6: u16 = 0x86dd;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
/// `PACKET_OTHERHOST`: the frame is for another host, and the interface shows it all the same.
const OTHERHOST: u32 = 3;
/// The part of a tag that names a VLAN; 0 is a priority only.
const VLAN: u32 = 0x0fff;

/// Whether a packet is somebody else's: for another host, or of a VLAN, whose own interface it passes, too.
#[inline(always)]
pub(crate) fn is_of_others(ctx: &TcContext, direction: Direction) -> bool {
    // SAFETY: the context is the kernel's; the verifier rewrites the field accesses.
    let (of_a_vlan, to_whom) = unsafe {
        (
            // Until 6.1 a tag that was taken off leaves its number behind.
            (*ctx.skb.skb).vlan_present != 0 && (*ctx.skb.skb).vlan_tci & VLAN != 0,
            (*ctx.skb.skb).pkt_type,
        )
    };
    of_a_vlan || matches!(direction, Direction::Rx) && to_whom == OTHERHOST
}

/// Fills in what the IP header at the beginning of `packet` tells, and the ports behind it.
#[inline(always)]
pub(crate) fn describe(packet: impl Bytes, ethertype: u16, sample: &mut Sample) {
    if ethertype == ETH_P_IP {
        let Some(header) = packet.bytes::<[u8; 20]>(0) else {
            return;
        };
        sample.family = AF_INET;
        put_v4(&mut sample.local, source_v4(&header));
        put_v4(
            &mut sample.remote,
            u32::from_ne_bytes([header[16], header[17], header[18], header[19]]),
        );
        sample.protocol = u16::from(header[9]);
        if is_first(&header) {
            ports(packet, header_bytes(header[0]), header[9], sample);
        }
    } else if ethertype == ETH_P_IPV6 {
        // A header that is cut off tells nothing: half of it would name a destination that is none.
        let Some(remote) = packet.bytes(24) else {
            return;
        };
        sample.family = AF_INET6;
        sample.local = packet.bytes(8).unwrap_or_default();
        sample.remote = remote;
        let next_header: u8 = packet.bytes(6).unwrap_or(0);
        sample.protocol = u16::from(next_header);
        ports(packet, 40, next_header, sample);
    }
}

/// Protocol of what follows the IP header at the beginning of `packet`, and where it begins; `None` where it is cut off.
#[inline(always)]
pub(crate) fn transport(packet: impl Bytes, ethertype: u16) -> Option<(u8, u32)> {
    match ethertype {
        ETH_P_IP => {
            let header = packet.bytes::<[u8; 20]>(0)?;
            is_first(&header).then(|| (header[9], header_bytes(header[0])))
        }
        ETH_P_IPV6 => Some((packet.bytes(6)?, 40)),
        _ => None,
    }
}

/// The source address of an IPv4 header, as it lies in memory.
#[inline(always)]
pub(crate) fn source_v4(header: &[u8; 20]) -> u32 {
    u32::from_ne_bytes([header[12], header[13], header[14], header[15]])
}

/// Whether the packet is whole or a first fragment: only these carry what follows the IPv4 header.
#[inline(always)]
pub(crate) fn is_first(header: &[u8; 20]) -> bool {
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    fragment_offset == 0
}

/// Length of an IPv4 header by its first byte.
#[inline(always)]
pub(crate) fn header_bytes(first: u8) -> u32 {
    u32::from(first & 0x0f) * 4
}

#[inline(always)]
fn ports(packet: impl Bytes, offset: u32, protocol: u8, sample: &mut Sample) {
    if protocol != TCP && protocol != UDP {
        return;
    }
    let [a, b, c, d] = packet.bytes::<[u8; 4]>(offset).unwrap_or_default();
    sample.local_port = u16::from_be_bytes([a, b]);
    sample.remote_port = u16::from_be_bytes([c, d]);
}
