//! tp_btf `tcp_send_reset` (since 6.9 with a reason) and `tcp_receive_reset`.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use osi_common::occurrence::{Key, Kind, TCP_SYN_SENT};

use crate::l3_network::drops;
use crate::l4_transport::handshake;
use crate::l5_session::broken;
use crate::shared::{
    occurrence::{count, send},
    read::Object,
    rodata::{in_scope, tcp_send_reset_args},
    sock::Sock,
};

/// The socket is null when nobody listens; the packet is null when the reset answers none.
#[btf_tracepoint(function = "tcp_send_reset")]
pub(crate) fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    let (sock, skb) = (Sock::nullable(ctx.arg(0)), Object::untyped(ctx.arg(1)));
    let code: u32 = if tcp_send_reset_args() >= 3 {
        ctx.arg(2)
    } else {
        0
    };
    let netns = match (sock.map_or(0, Sock::netns), skb) {
        (0, Some(skb)) => drops::owner(skb, None).0,
        (netns, _) => netns,
    };
    if !in_scope(netns) {
        return 0;
    }
    let key = Key {
        kind: Kind::ResetSent as u32,
        code,
        netns,
        ifindex: 0,
        location: 0,
    };
    if count(&ctx, &key, 1) {
        send(&ctx, &key, |sample| {
            if let Some(sock) = sock {
                handshake::place(sample, &sock.flow());
            }
            // No family: no socket, and the packet tells.
            if let (0, Some(skb)) = (sample.family, skb) {
                drops::describe(skb, sample);
            }
        });
    }
    0
}

/// Runs before the state changes: the state that the reset ends is still there.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub(crate) fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    let Some(sock) = Sock::new(ctx.arg(0)) else {
        return 0;
    };
    let netns = sock.netns();
    if !in_scope(netns) {
        return 0;
    }
    let state = sock.state();
    if state == TCP_SYN_SENT {
        handshake::reset(sock.0.address());
    }
    let key = Key {
        kind: Kind::ResetReceived as u32,
        code: u32::from(state),
        netns,
        ifindex: 0,
        location: 0,
    };
    if count(&ctx, &key, 1) {
        send(&ctx, &key, |sample| handshake::place(sample, &sock.flow()));
    }
    broken::reset(&ctx, sock, netns);
    0
}
