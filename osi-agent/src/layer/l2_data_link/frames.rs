//! Packets as the tc programs see them, and frames as the XDP program does.

use osi_common::interface::Frames;
use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::InterfaceMaps;

rows! { Layer::L2;
    PACKETS_RX: "Packets received, as tc ingress sees them; one coalesced packet counts once." {
        id: "packets_rx",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Iface,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Traffic(packets_rx),
    }
    PACKETS_TX: "Packets sent, as tc egress sees them; one segmented packet counts once." {
        id: "packets_tx",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Iface,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Traffic(packets_tx),
    }
    BYTES_RX: "Bytes received, as tc ingress sees them." {
        id: "bytes_rx",
        unit: Unit::Bytes,
        source: Source::Map,
        scope: ScopeKind::Iface,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Traffic(bytes_rx),
    }
    BYTES_TX: "Bytes sent, as tc egress sees them." {
        id: "bytes_tx",
        unit: Unit::Bytes,
        source: Source::Map,
        scope: ScopeKind::Iface,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Traffic(bytes_tx),
    }
    XDP_FRAMES: "Frames received, as the XDP program sees them." {
        id: "xdp_frames",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Iface,
        fed_by: &["xdp"],
        since: "5.10",
        read: Read::Traffic(xdp_frames),
    }
    XDP_MALFORMED: "Frames too short for the header they announce, or with an impossible header length." {
        id: "xdp_malformed",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Iface,
        fed_by: &["xdp"],
        since: "5.10",
        read: Read::Errors(xdp_malformed),
    }
}

fn packets_rx(window: &Window, rows: &mut Vec<Amount>) {
    growth(window, rows, |maps| Some(maps.rx.packets));
}

fn packets_tx(window: &Window, rows: &mut Vec<Amount>) {
    growth(window, rows, |maps| Some(maps.tx.packets));
}

fn bytes_rx(window: &Window, rows: &mut Vec<Amount>) {
    growth(window, rows, |maps| Some(maps.rx.bytes));
}

fn bytes_tx(window: &Window, rows: &mut Vec<Amount>) {
    growth(window, rows, |maps| Some(maps.tx.bytes));
}

fn xdp_frames(window: &Window, rows: &mut Vec<Amount>) {
    growth(window, rows, |maps| {
        maps.frames.as_ref().map(|Frames { frames, .. }| *frames)
    });
}

fn xdp_malformed(window: &Window, rows: &mut Vec<Amount>) {
    growth(window, rows, |maps| {
        maps.frames
            .as_ref()
            .map(|Frames { malformed, .. }| *malformed)
    });
}

fn growth(window: &Window, rows: &mut Vec<Amount>, field: fn(&InterfaceMaps) -> Option<u64>) {
    rows.extend(window.interfaces().filter_map(|(now, before)| {
        let scope = Scope::iface(&now.netns, now.iface.ifindex, &now.iface.name);
        Some(Amount {
            scope,
            delta: field(now)?.saturating_sub(field(before)?),
        })
    }));
}
