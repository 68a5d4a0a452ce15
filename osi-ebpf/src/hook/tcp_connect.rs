//! `tcp_connect`: the moment between the search for a local port and the SYN. Variants: fentry, kprobe, sock_ops.
//!
//! Each run finds its socket's record by address and notes the time; one run per connect.

use aya_ebpf::{
    bindings::BPF_SOCK_OPS_TCP_CONNECT_CB,
    macros::{fentry, kprobe, sock_ops},
    programs::{FEntryContext, ProbeContext, SockOpsContext},
};

use crate::l4_transport::handshake;
use crate::shared::sock::Sock;

#[fentry(function = "tcp_connect")]
pub(crate) fn tcp_connect_fentry(ctx: FEntryContext) -> i32 {
    if let Some(sock) = Sock::new(ctx.arg(0)) {
        handshake::sent(sock);
    }
    0
}

#[kprobe(function = "tcp_connect")]
pub(crate) fn tcp_connect_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sock) = ctx.arg(0).and_then(Sock::nullable) {
        handshake::sent(sock);
    }
    0
}

/// Called from inside `tcp_connect`, just before the SYN is built. Other callbacks are not asked for and return at once.
#[sock_ops]
pub(crate) fn tcp_connect_sock_ops(ctx: SockOpsContext) -> u32 {
    if ctx.op() == BPF_SOCK_OPS_TCP_CONNECT_CB {
        // SAFETY: the context is the kernel's; the verifier rewrites the access to the socket pointer.
        let sock = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
        if let Some(sock) = Sock::of_context(sock.cast()) {
            handshake::sent(sock);
        }
    }
    1
}
