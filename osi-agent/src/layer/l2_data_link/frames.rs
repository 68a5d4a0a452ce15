//! Packets as the tc programs see them, and frames as the XDP program does.

use osi_common::interface::Frames;
use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Row, Source, Unit, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::{Blind, InterfaceMaps, Link};

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

/// Fewer packets may fall between the reading of the device and that of the programs' map.
const PASSED: u64 = 100;

/// Interfaces whose device moves packets while the tc program sees none: a program before it (XDP, or tc first in order) ends
/// their way. Nothing that the tc programs count is true there.
///
/// The millisecond peak tells of the last 1024 ms: a burst that ended right at the window's start is no shadow.
pub fn shadowed(window: &Window) -> Vec<Blind> {
    let mut blind = Vec::new();
    for (now, before) in window.interfaces() {
        let device = window
            .links()
            .find(|row| *row.netns == now.netns && row.now.iface == now.iface);
        // What a late reader brings is more than this window's, and the programs' map is never late.
        let in_time = |row: &Row<Link>| row.elapsed_ns < 2 * window.elapsed_ns();
        let Some(Row {
            now: link,
            before: old,
            ..
        }) = device.filter(in_time)
        else {
            continue;
        };
        let received = link.stats.rx_packets.saturating_sub(old.stats.rx_packets);
        let sent = link.stats.tx_packets.saturating_sub(old.stats.tx_packets);
        let directions = [
            (
                "received",
                received,
                now.rx.packets == before.rx.packets && now.rx_peak_ms_bytes == 0,
            ),
            (
                "sent",
                sent,
                now.tx.packets == before.tx.packets && now.tx_peak_ms_bytes == 0,
            ),
        ];
        for (moved, packets, unseen) in directions {
            if packets >= PASSED && unseen {
                let name = &now.iface.name;
                blind.push(Blind {
                    layer: Layer::L2,
                    what: format!("packets of {name}"),
                    why: format!(
                        "{packets} were {moved} and none came to our tc program: another program before it ends their way; \
                         see `bpftool net show dev {name}`"
                    ),
                });
            }
        }
    }
    blind
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
