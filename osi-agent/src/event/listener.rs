//! Events of listeners that the kernel only counts.

use osi_common::layer::Layer;

use super::{Event, EventKind, Flow, Names};
use crate::layer::Window;
use crate::scope::{Netns, Proto};
use crate::snapshot::{Listener, Mib};

/// SYNs dropped for a full SYN queue: one event for each namespace, as no counter names the listener.
pub(super) fn syns_dropped(window: &Window, names: &Names) -> Vec<Event> {
    counted(window, names, Mib::TcpReqQFullDrop, EventKind::SynDropped)
}

/// Finished handshakes dropped for a full accept queue: one event for each namespace, which names the listener where only one
/// has a full queue when the window ends.
pub(super) fn accepts_overflowed(window: &Window, names: &Names) -> Vec<Event> {
    let mut events = counted(
        window,
        names,
        Mib::ListenOverflows,
        EventKind::AcceptOverflow,
    );
    for event in &mut events {
        event.flow = event
            .netns
            .as_ref()
            .and_then(|netns| full_listener(window, netns))
            .map(flow);
    }
    events
}

fn counted(window: &Window, names: &Names, mib: Mib, kind: EventKind) -> Vec<Event> {
    let dropped = window.mib(mib).filter(|(_, count)| *count > 0);
    dropped
        .map(|(netns, count)| Event::of(window, names, kind, Layer::L4, netns, count))
        .collect()
}

/// Sockets that share a port (`SO_REUSEPORT`) are one listener.
fn full_listener<'a>(window: &Window<'a>, netns: &Netns) -> Option<&'a Listener> {
    let mut states = window.now.namespaces.iter();
    let state = states.find(|state| state.netns == *netns)?;
    let mut full = state
        .listeners
        .iter()
        .filter(|one| one.queued > one.backlog);
    let first = full.next()?;
    full.all(|other| (other.address, other.port) == (first.address, first.port))
        .then_some(first)
}

fn flow(listener: &Listener) -> Flow {
    Flow {
        src: Some(listener.address.to_string()),
        sport: Some(listener.port),
        dst: None,
        dport: None,
        proto: Some(Proto::Tcp),
    }
}
