//! Queueing disciplines: how full, and what they dropped.

use std::collections::BTreeMap;

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Row, Source, Unit, Use, Window, rows};
use crate::scope::{Iface, Netns, Scope, ScopeKind};
use crate::snapshot::Qdisc;

rows! { Layer::L2;
    QDISC_BACKLOG: "Packets waiting in an interface's fullest queue that is limited in packets; beyond the limit they are dropped." {
        id: "qdisc_backlog",
        unit: Unit::Packets,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["qdiscs"],
        since: "5.10",
        read: Read::Capacity(backlog_packets),
    }
    QDISC_BACKLOG_BYTES: "Bytes waiting in an interface's fullest queue that is limited in bytes; beyond the limit packets are dropped." {
        id: "qdisc_backlog_bytes",
        unit: Unit::Bytes,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["qdiscs"],
        since: "5.10",
        read: Read::Capacity(backlog_bytes),
    }
    QDISC_PACKETS: "Packets that left the queue of an interface." {
        id: "qdisc_packets",
        unit: Unit::Packets,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["qdiscs"],
        since: "5.10",
        read: Read::Traffic(packets),
    }
    QDISC_DROPS: "Packets that the queue of an interface dropped before they were sent." {
        id: "qdisc_drops",
        unit: Unit::Packets,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["qdiscs"],
        since: "5.10",
        read: Read::Drops(drops),
    }
    QUEUE_DELAY: "Time that bytes spend in the queue of an interface while some wait there: what waits over what leaves (Little's law)." {
        id: "queue_delay",
        unit: Unit::Nanoseconds,
        source: Source::Derived,
        scope: ScopeKind::Iface,
        fed_by: &["qdiscs"],
        since: "5.10",
        read: Read::Indicator(delay),
    }
}

/// `TC_H_ROOT`: the discipline on the device itself, whose counters include those of its children.
const ROOT: u32 = 0xffff_ffff;

fn backlog_packets(window: &Window, rows: &mut Vec<Use>) {
    fullest(window, rows, |qdisc| {
        Some((qdisc.backlog_packets, qdisc.limit_packets?))
    });
}

fn backlog_bytes(window: &Window, rows: &mut Vec<Use>) {
    fullest(window, rows, |qdisc| {
        Some((qdisc.backlog_bytes, qdisc.limit_bytes?))
    });
}

/// One row per interface: a multi-queue device has a discipline per queue, and the fullest one decides.
fn fullest(window: &Window, rows: &mut Vec<Use>, read: fn(&Qdisc) -> Option<(u64, u64)>) {
    let mut by_iface: BTreeMap<(&Netns, u32), (f64, Use)> = BTreeMap::new();
    for Row { netns, now, .. } in window.qdiscs() {
        let Some((used, limit)) = read(now).filter(|(_, limit)| *limit > 0) else {
            continue;
        };
        let (used, limit) = (used as f64, limit as f64);
        let row = (
            used / limit,
            Use {
                scope: scope(netns, &now.iface),
                used,
                capacity: Some(limit),
                lower_bound: false,
            },
        );
        let worst = by_iface
            .entry((netns, now.iface.ifindex))
            .or_insert_with(|| row.clone());
        if row.0 > worst.0 {
            *worst = row;
        }
    }
    rows.extend(by_iface.into_values().map(|(_, row)| row));
}

/// The mean of what waited at both ends of the window, over the rate at which bytes left. A queue that nothing leaves delays
/// by the window at least. Disciplines that only hold filters, or keep no count of what waits, have no row.
fn delay(window: &Window, rows: &mut Vec<Use>) {
    let roots = window.qdiscs().filter(|row| row.now.parent == ROOT);
    rows.extend(roots.filter_map(|row| {
        let waiting = (row.before.backlog_bytes + row.now.backlog_bytes) as f64 / 2.0;
        let left = row.now.bytes.saturating_sub(row.before.bytes) as f64;
        let elapsed = row.elapsed_ns as f64;
        let stuck = left == 0.0;
        (waiting > 0.0).then(|| Use {
            scope: scope(row.netns, &row.now.iface),
            used: if stuck {
                elapsed
            } else {
                waiting / left * elapsed
            },
            capacity: None,
            lower_bound: stuck,
        })
    }));
}

fn packets(window: &Window, rows: &mut Vec<Amount>) {
    growth(window, rows, |qdisc| qdisc.packets);
}

fn drops(window: &Window, rows: &mut Vec<Amount>) {
    growth(window, rows, |qdisc| qdisc.drops);
}

fn growth(window: &Window, rows: &mut Vec<Amount>, field: fn(&Qdisc) -> u64) {
    let roots = window.qdiscs().filter(|row| row.now.parent == ROOT);
    rows.extend(roots.map(|row| Amount {
        scope: scope(row.netns, &row.now.iface),
        delta: field(row.now).saturating_sub(field(row.before)),
    }));
}

fn scope(netns: &Netns, iface: &Iface) -> Scope {
    Scope::iface(netns, iface.ifindex, &iface.name)
}
