//! tp_btf `inet_sock_set_state`: every TCP state change. Ten runs per connection when both ends are on the host.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use osi_common::occurrence::{
    TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, TCP_NEW_SYN_RECV, TCP_SYN_RECV, TCP_SYN_SENT,
};

use crate::l4_transport::{handshake, opener};
use crate::shared::{rodata::in_scope, sock::Sock};

const IPPROTO_TCP: u16 = 6;

#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let Some(sock) = Sock::new(ctx.arg(0)) else {
        return 0;
    };
    let (old, new): (u8, u8) = (ctx.arg(1), ctx.arg(2));
    if sock.protocol() != IPPROTO_TCP {
        return 0;
    }
    let netns = sock.netns();
    if !in_scope(netns) {
        return 0;
    }
    match (old, new) {
        (TCP_CLOSE, TCP_SYN_SENT) => handshake::begin(&ctx, sock, netns),
        (TCP_SYN_SENT, TCP_CLOSE) => handshake::fail(&ctx, sock, netns),
        (TCP_SYN_SENT, _) => handshake::complete(&ctx, sock, netns),
        (TCP_SYN_RECV, TCP_ESTABLISHED) => handshake::accept(&ctx, sock, netns),
        (TCP_CLOSE, TCP_LISTEN) => opener::open(&ctx, sock, netns),
        (TCP_LISTEN, TCP_CLOSE) => opener::close(sock),
        (TCP_NEW_SYN_RECV | TCP_SYN_RECV, TCP_CLOSE) => {}
        (_, TCP_CLOSE) => handshake::close(&ctx, sock, netns),
        _ => {}
    }
    0
}
