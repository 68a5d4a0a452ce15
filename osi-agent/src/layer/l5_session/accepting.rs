//! How long established connections wait until their application takes them.

use std::collections::BTreeMap;

use osi_common::layer::Layer;
use osi_common::listener::ListenerKey;

use crate::layer::l7_application::exchange::listener;
use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::ScopeKind;
use crate::snapshot::NetnsState;

rows! { Layer::L5;
    ACCEPT_WAIT: "Time that established connections wait for accept(), on average: those that waited at both ends of the window, halved, by those accepted per time in it (Little's law); where none waited or none was accepted there is no row." {
        id: "accept_wait",
        unit: Unit::Nanoseconds,
        source: Source::Derived,
        scope: ScopeKind::Listener,
        fed_by: &["listeners", "tcp_state"],
        since: "4.16",
        read: Read::Indicator(accept_wait),
    }
}

/// Connections in the accept queues of each port.
fn queued(state: &NetnsState) -> BTreeMap<u16, u64> {
    let mut ports = BTreeMap::new();
    for listener in &state.listeners {
        *ports.entry(listener.port).or_default() += u64::from(listener.queued);
    }
    ports
}

fn accept_wait(window: &Window, rows: &mut Vec<Use>) {
    let made = window.listeners();
    for (state, before) in window.namespaces() {
        let earlier = before.map(queued).unwrap_or_default();
        rows.extend(queued(state).into_iter().filter_map(|(port, waiting)| {
            let waited = earlier.get(&port).copied().unwrap_or(0);
            // Nearly all ports on nearly all hosts.
            if waited + waiting == 0 {
                return None;
            }
            let mut here = made.iter();
            let here = here.find(|row| row.netns == state.netns && row.port == port);
            let arrived = here.map_or(0, |row| row.times.count());
            let accepted = (waited + arrived).saturating_sub(waiting);
            if accepted == 0 {
                return None;
            }
            let key = ListenerKey {
                netns: state.netns.inode,
                port: port.into(),
            };
            let mean = (waited + waiting) as f64 / 2.0;
            Some(Use {
                scope: listener(window, key)?,
                used: mean * window.elapsed_ns() as f64 / accepted as f64,
                capacity: None,
                lower_bound: false,
            })
        }));
    }
}
