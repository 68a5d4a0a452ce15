//! tp_btf `tcp_retransmit_skb` and `tcp_retransmit_synack`: segments sent again.
//!
//! The first one also runs for attempts that were given up before anything was sent (the first copy still waits in a queue, no
//! memory): since 6.17 it says so by a negative errno, and those are no retransmits. A positive one means that this host's own
//! queue dropped the segment: it was sent as TCP sees it, and `RetransSegs` counts it. Before 6.17 all of them count, as the
//! kernel gives no way to tell.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use osi_common::occurrence::{Key, Kind};

use crate::l3_network::path_mtu;
use crate::l4_transport::handshake;
use crate::shared::{
    occurrence::{count, send},
    read::Object,
    rodata::{in_scope, tcp_retransmit_args},
    sock::Sock,
};

#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub(crate) fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    let Some(sock) = Sock::new(ctx.arg(0)) else {
        return 0;
    };
    if tcp_retransmit_args() >= 3 && ctx.arg::<i32>(2) < 0 {
        return 0;
    }
    let netns = sock.netns();
    if in_scope(netns) {
        handshake::retransmitted(&ctx, sock, netns);
        if let Some(segment) = Object::typed(ctx.arg(1)) {
            path_mtu::sent_again(&ctx, sock, segment, netns);
        }
    }
    0
}

/// The first argument is the listener: its port is known, the peer's is not read.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub(crate) fn tcp_retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    let Some(listener) = Sock::new(ctx.arg(0)) else {
        return 0;
    };
    let netns = listener.netns();
    if !in_scope(netns) {
        return 0;
    }
    let key = Key {
        kind: Kind::RetransmitSynack as u32,
        code: 0,
        netns,
        ifindex: 0,
        location: 0,
    };
    if count(&ctx, &key, 1) {
        send(&ctx, &key, |sample| {
            handshake::place(sample, &listener.flow());
        });
    }
    0
}
