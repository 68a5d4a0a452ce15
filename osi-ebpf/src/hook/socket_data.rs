//! Data lies in a socket, was read from one, was sent on one. Two sets of programs, of which one is loaded.
//!
//! tp_btf `sk_data_ready`, `tcp_rcv_space_adjust` and `sock_send_length`: the first and the last came with 6.3, and run for sockets
//! of all kinds: what is not TCP costs two reads. The first runs once for each burst of segments that arrives, the second once for
//! each buffer that a call copies, the last once for each call: twice per request where both ends are on the host, at 95 to 135 ns
//! (docs/adr/0023).
//!
//! Before: entry of `sock_def_readable`, which is where the first tracepoint came to be, and of `tcp_sendmsg_locked`, by fentry or
//! kprobe, with `tcp_rcv_space_adjust` (4.15). All of them run under the lock of the socket. A send ends a wait when it begins, and
//! not when it is done.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, kprobe},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext},
};

use crate::l7_application::exchange;
use crate::l7_application::record::{InSocket, InTable};
use crate::shared::sock::Sock;

#[btf_tracepoint(function = "sk_data_ready")]
pub(crate) fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    if let Some(sock) = Sock::new(ctx.arg(0)).filter(|sock| sock.is_tcp()) {
        exchange::arrived::<InSocket>(&ctx, sock);
    }
    0
}

/// Runs at the beginning of what the kernel calls it for: the data was copied and counts as read.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub(crate) fn tcp_rcv_space_adjust(ctx: BtfTracePointContext) -> i32 {
    if let Some(sock) = Sock::new(ctx.arg(0)) {
        exchange::read::<InSocket>(&ctx, sock);
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
        exchange::sent::<InSocket>(&ctx, sock);
    }
    0
}

#[fentry(function = "sock_def_readable")]
pub(crate) fn sock_def_readable_fentry(ctx: FEntryContext) -> i32 {
    if let Some(sock) = Sock::new(ctx.arg(0)).filter(|sock| sock.is_tcp()) {
        exchange::arrived::<InTable>(&ctx, sock);
    }
    0
}

#[kprobe(function = "sock_def_readable")]
pub(crate) fn sock_def_readable_kprobe(ctx: ProbeContext) -> u32 {
    let sock = ctx.arg(0).and_then(Sock::nullable);
    if let Some(sock) = sock.filter(|sock| sock.is_tcp()) {
        exchange::arrived::<InTable>(&ctx, sock);
    }
    0
}

/// As [`tcp_rcv_space_adjust`], for records in a table.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub(crate) fn tcp_rcv_space_adjust_locked(ctx: BtfTracePointContext) -> i32 {
    if let Some(sock) = Sock::new(ctx.arg(0)) {
        exchange::read::<InTable>(&ctx, sock);
    }
    0
}

/// Arguments: socket, message, size.
#[fentry(function = "tcp_sendmsg_locked")]
pub(crate) fn tcp_sendmsg_locked_fentry(ctx: FEntryContext) -> i32 {
    if ctx.arg::<u64>(2) > 0
        && let Some(sock) = Sock::new(ctx.arg(0))
    {
        exchange::sent::<InTable>(&ctx, sock);
    }
    0
}

#[kprobe(function = "tcp_sendmsg_locked")]
pub(crate) fn tcp_sendmsg_locked_kprobe(ctx: ProbeContext) -> u32 {
    let size: Option<u64> = ctx.arg(2);
    if size.is_some_and(|size| size > 0)
        && let Some(sock) = ctx.arg(0).and_then(Sock::nullable)
    {
        exchange::sent::<InTable>(&ctx, sock);
    }
    0
}
