//! tp_btf `sk_data_ready`, `tcp_rcv_space_adjust` and `sock_send_length`: data lies in a socket, was read from one, was sent on one.
//!
//! The first and the last came with 6.3, and run for sockets of all kinds: what is not TCP costs two reads. The first runs once
//! for each burst of segments that arrives, the second once for each buffer that a call copies, the last once for each call: twice
//! per request where both ends are on the host, at 95 to 135 ns (docs/adr/0023).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::l7_application::exchange;
use crate::shared::sock::Sock;

#[btf_tracepoint(function = "sk_data_ready")]
pub(crate) fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    if let Some(sock) = Sock::new(ctx.arg(0)).filter(|sock| sock.is_tcp()) {
        exchange::arrived(&ctx, sock);
    }
    0
}

/// Runs at the beginning of what the kernel calls it for: the data was copied and counts as read.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub(crate) fn tcp_rcv_space_adjust(ctx: BtfTracePointContext) -> i32 {
    if let Some(sock) = Sock::new(ctx.arg(0)) {
        exchange::read(&ctx, sock);
    }
    0
}

/// Runs after the call: with the bytes that were taken, or a negative errno.
#[btf_tracepoint(function = "sock_send_length")]
pub(crate) fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(1) <= 0 {
        return 0;
    }
    if let Some(sock) = Sock::new(ctx.arg(0)).filter(|sock| sock.is_tcp()) {
        exchange::sent(&ctx, sock);
    }
    0
}
