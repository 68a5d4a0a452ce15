//! tp_btf `inet_sock_set_state`: every TCP state change. Ten runs per connection when both ends are on the host.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use osi_common::occurrence::{
    TCP_CLOSE, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_LISTEN, TCP_NEW_SYN_RECV, TCP_SYN_RECV,
    TCP_SYN_SENT,
};

use crate::l4_transport::{handshake, opener};
use crate::l5_session::broken;
use crate::l7_application::exchange;
use crate::shared::{rodata::in_scope, sock::Sock};

const IPPROTO_TCP: u16 = 6;

/// What a change of state means here.
enum Change {
    Begun,
    Failed,
    Completed,
    Accepted,
    Listens,
    ListensNoMore,
    Closed,
}

impl Change {
    /// Half of a connection's changes mean nothing: they shall cost nothing either, not even the reading of their namespace.
    #[inline(always)]
    fn of(old: u8, new: u8) -> Option<Self> {
        match (old, new) {
            (TCP_CLOSE, TCP_SYN_SENT) => Some(Self::Begun),
            (TCP_SYN_SENT, TCP_CLOSE) => Some(Self::Failed),
            (TCP_SYN_SENT, _) => Some(Self::Completed),
            // With data in its SYN (Fast Open), a connection may be answered and closed before its handshake ends.
            (TCP_SYN_RECV, TCP_ESTABLISHED | TCP_FIN_WAIT1) => Some(Self::Accepted),
            (TCP_CLOSE, TCP_LISTEN) => Some(Self::Listens),
            (TCP_LISTEN, TCP_CLOSE) => Some(Self::ListensNoMore),
            (TCP_NEW_SYN_RECV | TCP_SYN_RECV, TCP_CLOSE) => None,
            (_, TCP_CLOSE) => Some(Self::Closed),
            _ => None,
        }
    }
}

#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let (Some(sock), Some(change)) = (Sock::new(ctx.arg(0)), Change::of(ctx.arg(1), ctx.arg(2)))
    else {
        return 0;
    };
    if sock.protocol() != IPPROTO_TCP {
        return 0;
    }
    let netns = sock.netns();
    if !in_scope(netns) {
        return 0;
    }
    match change {
        Change::Begun => handshake::begin(&ctx, sock, netns),
        Change::Failed => handshake::fail(&ctx, sock, netns),
        Change::Completed => {
            handshake::complete(&ctx, sock, netns);
            exchange::opened(sock, netns);
        }
        Change::Accepted => {
            handshake::accept(&ctx, sock, netns);
            exchange::accepted(sock, netns);
        }
        Change::Listens => opener::open(&ctx, sock, netns),
        Change::ListensNoMore => opener::close(sock),
        Change::Closed => {
            handshake::close(&ctx, sock, netns, ctx.arg(1));
            broken::closed(&ctx, sock, netns, ctx.arg(1));
            exchange::closed(sock);
        }
    }
    0
}
