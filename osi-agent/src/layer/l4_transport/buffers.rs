//! Receive buffers of sockets, and what found no room in them.

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Use, Window, rows};
use crate::scope::{Netns, Proto, Scope, ScopeKind};
use crate::snapshot::{DatagramSocket, Mib};

rows! { Layer::L4;
    UDP_BUFFER_DROPS: "UDP datagrams dropped because the socket's receive buffer was full." {
        id: "udp_buffer_drops",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Drops(|window, rows| rows.extend(window.mib_sums(&[Mib::UdpRcvbufErrors, Mib::Udp6RcvbufErrors]))),
    }
    UDP_RECEIVE_BUFFERS: "Bytes that wait in the receive buffers of UDP sockets which dropped datagrams in the window." {
        id: "udp_receive_buffers",
        unit: Unit::Bytes,
        source: Source::Netlink,
        scope: ScopeKind::Listener,
        fed_by: &["datagram_sockets"],
        since: "4.10",
        read: Read::Indicator(overflowing),
    }
    TCP_RECEIVE_DROPS: "TCP segments dropped because there was no room or memory to queue them in." {
        id: "tcp_receive_drops",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "4.20",
        read: Read::Drops(without_room),
    }
}

/// The scope of a UDP socket.
pub fn scope(netns: &Netns, socket: &DatagramSocket) -> Scope {
    Scope {
        proto: Some(Proto::Udp),
        ..Scope::listener(netns, socket.address, socket.port)
    }
}

/// UDP sockets that dropped datagrams since they were read before, with how many. One that was not there then had dropped
/// none: only those that did are kept.
pub fn losers<'a>(
    window: &Window<'a>,
) -> impl Iterator<Item = (&'a Netns, &'a DatagramSocket, u64)> + use<'a> {
    window.namespaces().flat_map(|(state, old)| {
        let (now, before) = (
            &state.datagram_sockets,
            old.map(|old| &old.datagram_sockets),
        );
        let new = before.filter(|before| before.read_ns < now.read_ns);
        let sockets = new.into_iter().flat_map(|before| {
            now.iter().map(|socket| {
                let known = before.iter().find(|old| old.cookie == socket.cookie);
                let known = known.map_or(0, |old| old.drops);
                (socket, socket.drops.saturating_sub(known))
            })
        });
        let grown = sockets.filter(|(_, drops)| *drops > 0);
        grown.map(move |(socket, drops)| (&state.netns, socket, drops))
    })
}

fn overflowing(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(losers(window).map(|(netns, socket, _)| Use {
        scope: scope(netns, socket),
        used: socket.queued_bytes as f64,
        capacity: Some(socket.buffer_bytes as f64),
        lower_bound: false,
    }));
}

/// `tcp_try_rmem_schedule()` counts most of what `tcp_data_queue()` drops once more, and each misses some of the other's.
fn without_room(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(window.mib_rows(Mib::RcvPruned).map(|mut row| {
        let netns = row.scope.netns.as_ref();
        let queue = netns.map_or(0, |netns| window.mib_in(netns, Mib::TcpRcvQDrop));
        row.delta = row.delta.max(queue);
        row
    }));
}
