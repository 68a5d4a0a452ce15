//! Established connections that no application closed: reset by the other end, or given up by a timer. Counted by peer where
//! this host made them, else by listening port.

use aya_ebpf::EbpfContext;
use osi_common::handshake::PeerRecord;
use osi_common::listener::ListenerRecord;
use osi_common::occurrence::{is_given_up, is_session};
use osi_common::tls::is_as_long_as_an_alert;

use crate::l4_transport::{handshake, listener};
use crate::l7_application::exchange;
use crate::shared::{own::bump, sock::Sock};

/// Whose connection it was.
enum End {
    Peer(*mut PeerRecord),
    Listener(*mut ListenerRecord),
}

/// A reset arrived, and the state that it ends is still there. Proxies and servers end idle connections so by design, and
/// health checks those on which nothing was said: these do not count. Nor does who is met by a client's farewell.
#[inline(always)]
pub(crate) fn reset<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32) {
    if !is_session(u32::from(sock.state())) || sock.says_farewell() {
        return;
    }
    match end(ctx, sock, netns) {
        Some(End::Peer(peer)) if sock.is_busy() && !takes_leave(sock) => {
            bump!(peer, outcomes.sessions_reset, 1);
        }
        Some(End::Listener(listener)) if sock.owes() => bump!(listener, sessions_reset, 1),
        Some(End::Peer(_) | End::Listener(_)) | None => {}
    }
}

/// Whether the two sides took leave of each other as TLS does: after an answer that is said to be the last, the client's closing
/// alert meets a server that closes without reading it, and so by a reset. It is all that is not acknowledged; or, acknowledged a
/// moment ago, all that was written since data last came; or the server's own alert, which no longer came to be read, acknowledged it.
#[inline(always)]
fn takes_leave(sock: Sock) -> bool {
    let unacknowledged = sock.in_flight().1;
    if unacknowledged != 0 {
        return is_as_long_as_an_alert(unacknowledged);
    }
    // Who waits longer than a moment waits for an answer: requests may be as short.
    sock.was_heard() && exchange::written_since(sock).is_some_and(is_as_long_as_an_alert)
        || exchange::unread(sock).is_some_and(is_as_long_as_an_alert)
}

/// A connection ended that was in this state before.
#[inline(always)]
pub(crate) fn closed<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32, state: u8) {
    if !is_session(u32::from(state)) || !is_given_up(sock.error()) {
        return;
    }
    match end(ctx, sock, netns) {
        Some(End::Peer(peer)) => bump!(peer, outcomes.sessions_timed_out, 1),
        Some(End::Listener(listener)) => bump!(listener, sessions_timed_out, 1),
        None => {}
    }
}

/// The peer where this host made the connection, else the listening port. A peer may have been connected to before this host was
/// watched, or so long ago that its row made room for others: it gets one.
#[inline(always)]
fn end<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32) -> Option<End> {
    let flow = sock.flow();
    if let Some(peer) = handshake::peer(ctx, netns, &flow, false) {
        return Some(End::Peer(peer));
    }
    if let Some(listener) = listener::known(netns, flow.local_port) {
        return Some(End::Listener(listener));
    }
    handshake::peer(ctx, netns, &flow, true).map(End::Peer)
}
