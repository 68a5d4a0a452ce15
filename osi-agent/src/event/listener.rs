//! Events of listeners that the kernel only counts.

use osi_common::layer::Layer;

use super::{Event, EventKind, Names};
use crate::layer::Window;
use crate::snapshot::Mib;

/// SYNs dropped for a full SYN queue: one event for each namespace, as no counter names the listener.
pub(super) fn syns_dropped(window: &Window, names: &Names) -> Vec<Event> {
    let dropped = window
        .mib(Mib::TcpReqQFullDrop)
        .filter(|(_, count)| *count > 0);
    let event = |(netns, count): (&crate::scope::Netns, u64)| Event {
        kind: EventKind::SynDropped,
        layer: Layer::L4.id().to_owned(),
        netns: Some(netns.clone()),
        flow: None,
        sender: None,
        iface: None,
        process: None,
        errno: None,
        reason: None,
        class: None,
        function: None,
        count,
        at: names.clock.rfc3339(window.now.boot_ns),
    };
    dropped.map(event).collect()
}
