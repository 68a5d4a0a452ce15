//! Events that netlink shows: neighbours that did not answer, links that changed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use super::spread::spread;
use super::{Event, EventKind, Flow, Names};
use crate::layer::{Window, address};
use crate::scope::{Iface, Netns};
use crate::snapshot::{Link, Neighbour};

/// Neighbours that failed in the window: now in state FAILED, and either not before or changed since.
pub(super) fn neighbours(window: &Window, names: &Names) -> Vec<Event> {
    let mut events = Vec::new();
    for (now, before) in window
        .namespaces()
        .filter_map(|(now, before)| Some((now, before?)))
    {
        let newly = |entry: &&Neighbour| {
            let same = |old: &&Neighbour| {
                old.address == entry.address && old.iface == entry.iface && old.failed
            };
            let old = before.neighbours.unresolved.iter().find(same);
            entry.failed && old.is_none_or(|old| entry.updated_ns < old.updated_ns)
        };
        let mut failed: Vec<_> = now.neighbours.unresolved.iter().filter(newly).collect();
        failed.sort_by_key(|entry| (entry.iface.ifindex, entry.address));
        for group in failed.chunk_by(|a, b| a.iface == b.iface) {
            for (entry, count) in spread(group.len() as u64, group) {
                let Some(entry) = entry else { continue };
                let event = event(
                    window,
                    names,
                    EventKind::NeighborFailed,
                    Layer::L2,
                    &now.netns,
                    &entry.iface,
                    count,
                );
                let flow = Some(towards(entry.address));
                let at = names
                    .clock
                    .rfc3339(window.now.boot_ns.saturating_sub(entry.updated_ns));
                events.push(Event { flow, at, ..event });
            }
        }
    }
    events
}

/// Neighbours whose failure only shows in the packets that waited for them: an entry that failed and is being asked for again
/// stands in the table as incomplete when the window ends. The address is the packet's destination, which may lie behind the
/// neighbour.
pub(super) fn waiting_dropped(window: &Window, names: &Names, told: &[Event]) -> Vec<Event> {
    let mut dropped: BTreeMap<(u32, IpAddr), u64> = BTreeMap::new();
    for sample in &window.now.samples {
        if sample.key.kind == Kind::Drop as u32
            && sample.family != 0
            && &*(names.function)(sample.key.location) == NEIGHBOUR_GIVEN_UP
        {
            let destination = address(sample.family, &sample.remote);
            *dropped.entry((sample.key.netns, destination)).or_default() += 1;
        }
    }
    let mut events = Vec::new();
    for ((inode, destination), count) in dropped {
        let Some(netns) = window.netns(inode) else {
            continue;
        };
        if told.iter().any(|event| event.netns.as_ref() == Some(netns)) {
            continue;
        }
        events.push(Event {
            flow: Some(towards(destination)),
            iface: None,
            ..event(
                window,
                names,
                EventKind::NeighborFailed,
                Layer::L2,
                netns,
                &Iface {
                    ifindex: 0,
                    name: String::new(),
                },
                count,
            )
        });
    }
    events
}

/// The kernel function that gives a neighbour up and drops what waited for it.
const NEIGHBOUR_GIVEN_UP: &str = "neigh_invalidate";

fn towards(destination: IpAddr) -> Flow {
    Flow {
        src: None,
        sport: None,
        dst: Some(destination.to_string()),
        dport: None,
        proto: None,
    }
}

/// Links that changed in the window.
pub(super) fn links(window: &Window, names: &Names) -> Vec<Event> {
    let mut events = Vec::new();
    for row in window.links() {
        let Some((reason, count)) = change(row.now, row.before) else {
            continue;
        };
        let event = event(
            window,
            names,
            EventKind::LinkChanged,
            Layer::L1,
            row.netns,
            &row.now.iface,
            count,
        );
        events.push(Event {
            reason: Some(reason.to_owned()),
            ..event
        });
    }
    events
}

/// How a link changed and how often; coming and going within one window counts both ways.
fn change(now: &Link, before: &Link) -> Option<(&'static str, u64)> {
    let changes = now.carrier_changes.saturating_sub(before.carrier_changes);
    let reason = match (now.admin_up, before.admin_up, now.carrier, before.carrier) {
        (false, true, _, _) => "admin_down",
        (true, false, _, _) => "admin_up",
        (_, _, false, true) => "carrier_lost",
        (_, _, true, false) => "carrier_gained",
        _ if changes > 0 => "flapped",
        _ => return None,
    };
    Some((reason, changes.max(1)))
}

fn event(
    window: &Window,
    names: &Names,
    kind: EventKind,
    layer: Layer,
    netns: &Netns,
    iface: &Iface,
    count: u64,
) -> Event {
    Event {
        iface: Some(iface.clone()),
        ..Event::of(window, names, kind, layer, netns, count)
    }
}
