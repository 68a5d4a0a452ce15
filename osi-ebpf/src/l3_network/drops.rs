//! Dropped packets: which reason, by whom, in which namespace. The reason decides the layer later; most are L3's and L4's.

use aya_ebpf::EbpfContext;
use osi_common::occurrence::{Key, Kind, Sample, TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_SYN_SENT};

use crate::l4_transport::{handshake, listener};
use crate::shared::{
    ip::{self, ETH_P_IP, ETH_P_IPV6},
    occurrence::{count, send},
    read::{Bytes, Object},
    rodata::{in_scope, kfree_skb_args, no_socket, offset},
    sock::{Sock, netns_of},
};

/// `SKB_DST_PTRMASK`: the low bits of `_skb_refdst` are flags.
const DST_MASK: u64 = !1;

/// Counts one dropped packet and sends an example of it when one is wanted.
#[inline(always)]
pub(crate) fn dropped<C: EbpfContext>(
    ctx: &C,
    skb: Object,
    location: u64,
    reason: u32,
    receiver: Option<Sock>,
) {
    // Before the scope is looked at: a packet of a watched socket may be dropped at the other end of its veth pair.
    if let Some(sock) = skb.pointer(offset!(skb_sk)).map(Sock)
        && sock.state() == TCP_SYN_SENT
    {
        handshake::dropped(sock.0.address(), reason, location);
    }
    let (netns, ifindex) = owner(skb, receiver);
    if !in_scope(netns) {
        return;
    }
    let key = Key {
        kind: Kind::Drop as u32,
        code: reason,
        netns,
        ifindex: 0,
        location,
    };
    if count(ctx, &key, segments(skb)) {
        let key = Key { ifindex, ..key };
        send(ctx, &key, |sample| {
            sample.established = u16::from(is_established(skb, netns));
            describe(skb, sample);
        });
    }
    // Where no reason is named it may be this one: user space looks only at ports that nobody listens on.
    if reason == no_socket() || kfree_skb_args() < 3 {
        let ethertype = u16::from_be(skb.field(offset!(skb_protocol)).unwrap_or(0));
        if let Some(network) = network_header(skb)
            && let Some((protocol, transport_at)) = ip::transport(network, ethertype)
        {
            listener::refused(network, transport_at, protocol, netns);
        }
    }
}

/// Whether the packet has a socket of this namespace that carries payload: its sender, or, on the way in, the one that
/// `tcp_v4_early_demux` found before the rule sets for input ran. A connection in TIME_WAIT has nothing to lose.
///
/// A packet that crossed a veth pair and still has its sender's socket was sent in another namespace.
#[inline(always)]
fn is_established(skb: Object, netns: u32) -> bool {
    let Some(sock) = skb.pointer(offset!(skb_sk)).map(Sock) else {
        return false;
    };
    matches!(sock.state(), TCP_ESTABLISHED | TCP_CLOSE_WAIT) && sock.netns() == netns
}

/// What the packet itself tells of its drop, for kernels that name no reason; 0 where it tells nothing.
#[inline(always)]
pub(crate) fn own_reason(skb: Object) -> u32 {
    let hop_limit_at = match u16::from_be(skb.field(offset!(skb_protocol)).unwrap_or(0)) {
        ETH_P_IP => 8,
        ETH_P_IPV6 => 7,
        _ => return 0,
    };
    let left = network_header(skb).and_then(|network| network.bytes::<u8>(hop_limit_at));
    match left {
        Some(0 | 1) => Key::NO_HOP_LEFT,
        Some(_) | None => 0,
    }
}

/// Whose packet it is: the receiving socket's namespace, else that of the device it arrived on, else its own socket's, else its
/// device's, else its route's.
///
/// A packet that crosses a veth pair keeps its sender's socket until the IP layer takes it: before that, only the device
/// tells whose host refuses it.
///
/// `skb->dev` shares its memory with queue links, so that what lies there may be no device; the check of the inode number
/// in `netns_of` and the registry in user space reject what is misread.
#[inline(always)]
pub(crate) fn owner(skb: Object, receiver: Option<Sock>) -> (u32, u32) {
    if let Some(sock) = receiver {
        let netns = sock.netns();
        if netns != 0 {
            return (netns, 0);
        }
    }
    let (device_netns, ifindex) = device_of(skb);
    let arrived_on: u32 = skb.field(offset!(skb_iif)).unwrap_or(0);
    if device_netns != 0 && ifindex == arrived_on {
        return (device_netns, ifindex);
    }
    if let Some(sock) = skb.pointer(offset!(skb_sk)).map(Sock) {
        let netns = sock.netns();
        if netns != 0 {
            return (netns, 0);
        }
    }
    if device_netns != 0 {
        return (device_netns, ifindex);
    }
    (route_netns(skb).unwrap_or(0), 0)
}

/// Namespace and index of the packet's device, 0 where there is none.
#[inline(always)]
fn device_of(skb: Object) -> (u32, u32) {
    let Some(device) = skb.pointer(offset!(skb_dev)) else {
        return (0, 0);
    };
    let netns = device.pointer(offset!(dev_net)).map_or(0, netns_of);
    (netns, device.field(offset!(dev_ifindex)).unwrap_or(0))
}

#[inline(always)]
fn route_netns(skb: Object) -> Option<u32> {
    let refdst: u64 = skb.field(offset!(skb_refdst))?;
    let dst = Object::untyped((refdst & DST_MASK) as *const u8)?;
    let device = dst.pointer(offset!(dst_dev))?;
    let net = device.pointer(offset!(dev_net))?;
    Some(netns_of(net))
}

/// Segments on the wire that the packet stands for: max(1, gso_segs).
#[inline(always)]
fn segments(skb: Object) -> u64 {
    let gso = head(skb).and_then(|head| {
        let end: u32 = skb.field(offset!(skb_end))?;
        Object::untyped((head.address() + u64::from(end)) as *const u8)?
            .probe::<u16>(offset!(shinfo_gso_segs))
    });
    match gso {
        Some(segments) if segments > 1 => u64::from(segments),
        Some(_) | None => 1,
    }
}

/// Start of the packet's buffer, as an untyped object.
#[inline(always)]
fn head(skb: Object) -> Option<Object> {
    let head: u64 = skb.field(offset!(skb_head))?;
    Object::untyped(head as *const u8)
}

/// Fills in protocol, addresses and ports from the packet's own headers, source as local side.
#[inline(always)]
pub(crate) fn describe(skb: Object, sample: &mut Sample) {
    let ethertype = u16::from_be(skb.field(offset!(skb_protocol)).unwrap_or(0));
    sample.ethertype = ethertype;
    let Some(network) = network_header(skb) else {
        return;
    };
    ip::describe(network, ethertype, sample);
}

#[inline(always)]
fn network_header(skb: Object) -> Option<Linear> {
    let offset: u16 = skb.field(offset!(skb_network_header))?;
    // 0 and 0xffff are "not set".
    if offset == 0 || offset == u16::MAX {
        return None;
    }
    let tail: u32 = skb.field(offset!(skb_tail))?;
    let start = Object::untyped((head(skb)?.address() + u64::from(offset)) as *const u8)?;
    let length = tail.saturating_sub(offset.into());
    Some(Linear { start, length })
}

/// What lies in a packet's first buffer from its network header on. What lies behind its end is of an earlier packet.
#[derive(Clone, Copy)]
struct Linear {
    start: Object,
    length: u32,
}

impl Bytes for Linear {
    #[inline(always)]
    fn bytes<T: Copy>(self, offset: u32) -> Option<T> {
        let end = u64::from(offset) + size_of::<T>() as u64;
        if end > self.length.into() {
            return None;
        }
        self.start.probe(offset)
    }
}
