//! Processes that have all of their descriptors in use, and the host.

use std::collections::BTreeSet;

use osi_common::layer::Layer;

use super::{Actor, Event, EventKind, Names, errno};
use crate::layer::Window;
use crate::layer::l5_session::descriptors::watched;
use crate::snapshot::{Gauge, HostState};

/// Those whose last descriptor went in this window.
pub(super) fn exhausted(window: &Window, names: &Names) -> Vec<Event> {
    let rows = window.previous.host.open_files.iter();
    let before: BTreeSet<_> = rows
        .filter(|row| row.is_full())
        .map(|row| &row.process)
        .collect();
    let at = names.clock.rfc3339(window.now.boot_ns);
    let bare = |error: i32| Event {
        errno: Some(errno::name(error.unsigned_abs())),
        ..Event::bare(EventKind::FdExhausted, Layer::L5, 1, at.clone())
    };
    let mut events: Vec<Event> = watched(window)
        .filter(|(_, row)| row.is_full() && !before.contains(&row.process))
        .map(|(netns, row)| Event {
            netns: netns.cloned(),
            process: Some(Actor::of(&row.process)),
            ..bare(libc::EMFILE)
        })
        .collect();
    if is_full(window.host()) && !is_full(&window.previous.host) {
        events.push(bare(libc::ENFILE));
    }
    events
}

fn is_full(host: &HostState) -> bool {
    host.files
        .is_some_and(|Gauge { used, limit }| used >= limit)
}
