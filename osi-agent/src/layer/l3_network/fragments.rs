//! Datagrams that arrive in fragments: those that become whole, those that do not, and the memory in which they wait.

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::Mib;

rows! { Layer::L3;
    FRAGMENT_MEMORY: "Bytes of IPv4 fragments waiting for reassembly; at net.ipv4.ipfrag_high_thresh further ones are dropped." {
        id: "fragment_memory",
        unit: Unit::Bytes,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["sockstat"],
        since: "2.6",
        read: Read::Capacity(memory),
    }
    REASSEMBLY_FAILURES: "Times that reassembly of a datagram was given up: fragments missing after net.ipv4.ipfrag_time, or no memory for more." {
        id: "reassembly_failures",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| both(window, rows, [Mib::IpReasmFails, Mib::Ip6ReasmFails])),
    }
    REASSEMBLY_TIMED_OUT: "Those of them that waited in vain for the missing fragments." {
        id: "reassembly_timed_out",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| both(window, rows, [Mib::IpReasmTimeout, Mib::Ip6ReasmTimeout])),
    }
    REASSEMBLED: "Datagrams that became whole." {
        id: "reassembled",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| both(window, rows, [Mib::IpReasmOks, Mib::Ip6ReasmOks])),
    }
}

/// One row per namespace for the counters of both families.
fn both(window: &Window, rows: &mut Vec<Amount>, mibs: [Mib; 2]) {
    rows.extend(window.now.namespaces.iter().map(|state| {
        Amount {
            scope: Scope::netns(&state.netns),
            delta: mibs
                .iter()
                .map(|mib| window.mib_in(&state.netns, *mib))
                .sum(),
        }
    }));
}

fn memory(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(window.now.namespaces.iter().filter_map(|state| {
        let gauge = state.fragments?;
        Some(Use::of_gauge(Scope::netns(&state.netns), gauge))
    }));
}
