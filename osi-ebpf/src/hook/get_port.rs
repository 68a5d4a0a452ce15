//! `inet_csk_get_port` and `udp_lib_get_port`: whoever wants any local port and gets none. Variants: fexit, kprobe with kretprobe.
//!
//! Both run in the system call of the process that wants the port: `bind` to port 0, `listen`, the first `connect` or send of UDP.
//! Cost: one run for each port that is bound; a rising value means that a range of ports is used up.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};

use crate::l4_transport::ports;
use crate::shared::sock::Sock;

/// Arguments: socket, port, answer.
#[fexit(function = "inet_csk_get_port")]
pub(crate) fn tcp_get_port_fexit(ctx: FExitContext) -> i32 {
    if ctx.arg::<u16>(1) == 0
        && ctx.arg::<i32>(2) != 0
        && let Some(sock) = Sock::new(ctx.arg(0))
    {
        ports::refused(&ctx, sock);
    }
    0
}

/// Arguments: socket, port, hash, answer.
#[fexit(function = "udp_lib_get_port")]
pub(crate) fn udp_get_port_fexit(ctx: FExitContext) -> i32 {
    if ctx.arg::<u16>(1) == 0
        && ctx.arg::<i32>(3) != 0
        && let Some(sock) = Sock::new(ctx.arg(0))
    {
        ports::refused(&ctx, sock);
    }
    0
}

#[kprobe(function = "inet_csk_get_port")]
pub(crate) fn tcp_get_port_kprobe(ctx: ProbeContext) -> u32 {
    entered(&ctx)
}

#[kretprobe(function = "inet_csk_get_port")]
pub(crate) fn tcp_get_port_kretprobe(ctx: RetProbeContext) -> u32 {
    ports::answered(&ctx, ctx.ret::<i32>() != 0);
    0
}

#[kprobe(function = "udp_lib_get_port")]
pub(crate) fn udp_get_port_kprobe(ctx: ProbeContext) -> u32 {
    entered(&ctx)
}

#[kretprobe(function = "udp_lib_get_port")]
pub(crate) fn udp_get_port_kretprobe(ctx: RetProbeContext) -> u32 {
    ports::answered(&ctx, ctx.ret::<i32>() != 0);
    0
}

/// A breakpoint at the end of a function sees its answer and not its arguments.
#[inline(always)]
fn entered(ctx: &ProbeContext) -> u32 {
    if let (Some(sock), Some(0)) = (ctx.arg::<u64>(0), ctx.arg::<u16>(1)) {
        ports::wanted(sock);
    }
    0
}
