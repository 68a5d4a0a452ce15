//! Throughput against the speed of the link or of the shaper that caps it, bursts, carrier.

use std::collections::BTreeMap;

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Row, Source, Unit, Use, Window, rows};
use crate::scope::{Iface, Netns, Scope, ScopeKind};
use crate::snapshot::{Link, Qdisc};

rows! { Layer::L1;
    LINK_THROUGHPUT_RX: "Bits received per second against the speed of the link; null where a software device has none." {
        id: "link_throughput_rx",
        unit: Unit::BitsPerSecond,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["links"],
        since: "5.10",
        read: Read::Capacity(throughput_rx),
    }
    LINK_THROUGHPUT_TX: "Bits sent per second against the speed of the link, or against the rate of a shaper that is tighter." {
        id: "link_throughput_tx",
        unit: Unit::BitsPerSecond,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["links"],
        since: "5.10",
        read: Read::Capacity(throughput_tx),
    }
    LINK_CAPACITY_LEARNED: "Bits sent per second on a link of unknown speed while packets waited for it at both ends of the window: as much as it can carry." {
        id: "link_capacity_learned",
        unit: Unit::BitsPerSecond,
        source: Source::Derived,
        scope: ScopeKind::Iface,
        fed_by: &["links", "qdiscs"],
        since: "5.10",
        read: Read::Indicator(learned),
    }
    BURST_PEAK_RX: "Bits per second in the busiest of the last 1024 milliseconds, received." {
        id: "burst_peak_rx",
        unit: Unit::BitsPerSecond,
        source: Source::Map,
        scope: ScopeKind::Iface,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Indicator(burst_rx),
    }
    BURST_PEAK_TX: "Bits per second in the busiest of the last 1024 milliseconds, handed to the queue for sending." {
        id: "burst_peak_tx",
        unit: Unit::BitsPerSecond,
        source: Source::Map,
        scope: ScopeKind::Iface,
        fed_by: &["tc"],
        since: "5.10",
        read: Read::Indicator(burst_tx),
    }
    CARRIER_CHANGES: "Times the carrier came or went." {
        id: "carrier_changes",
        unit: Unit::Events,
        source: Source::Netlink,
        scope: ScopeKind::Iface,
        fed_by: &["links"],
        since: "5.10",
        read: Read::Errors(carrier_changes),
    }
}

/// Preamble, start delimiter, checksum and gap that every Ethernet frame costs beyond the bytes that are counted.
const ETHERNET_OVERHEAD_BYTES: u64 = 24;

/// No link carries so much more than its speed.
const INVENTED_RATIO: f64 = 1.05;

/// `TC_H_ROOT`: the discipline sits on the device itself.
const ROOT: u32 = 0xffff_ffff;

fn throughput_rx(window: &Window, rows: &mut Vec<Use>) {
    for row in up(window) {
        let (link, before) = (row.now, row.before);
        let bytes = link.stats.rx_bytes.saturating_sub(before.stats.rx_bytes);
        let frames = link
            .stats
            .rx_packets
            .saturating_sub(before.stats.rx_packets);
        let used = row.per_second(on_the_wire(link, bytes, frames)) * 8.0;
        rows.push(throughput(
            row.netns,
            &link.iface,
            used,
            believed(link, used),
        ));
    }
}

fn throughput_tx(window: &Window, rows: &mut Vec<Use>) {
    let shapers = shapers(window);
    for row in up(window) {
        let link = row.now;
        let used = row.per_second(sent(&row)) * 8.0;
        let own = throughput(row.netns, &link.iface, used, believed(link, used));
        let shaper = shapers.get(&(row.netns, link.iface.ifindex));
        rows.push(match shaper {
            Some(shaper) if fullness(shaper) >= fullness(&own) => shaper.clone(),
            Some(_) | None => own,
        });
    }
}

/// Only an indicator: a link that was held up by a pause or by its other end carries more at other times.
fn learned(window: &Window, rows: &mut Vec<Use>) {
    let waiting = window.qdiscs().filter(|row| {
        row.now.parent == ROOT && row.now.backlog_bytes > 0 && row.before.backlog_bytes > 0
    });
    for queue in waiting.filter(|row| row.now.rate_bits_per_s.is_none()) {
        let of_queue =
            |row: &Row<Link>| row.netns == queue.netns && row.now.iface == queue.now.iface;
        let link = up(window).find(of_queue);
        let Some(row) = link.filter(|row| row.now.bits_per_s().is_none()) else {
            continue;
        };
        let bits = row.per_second(sent(&row)) * 8.0;
        if bits > 0.0 {
            rows.push(throughput(row.netns, &row.now.iface, bits, None));
        }
    }
}

/// Bytes that a link sent between two readings.
fn sent(row: &Row<Link>) -> u64 {
    let (now, before) = (&row.now.stats, &row.before.stats);
    let bytes = now.tx_bytes.saturating_sub(before.tx_bytes);
    on_the_wire(
        row.now,
        bytes,
        now.tx_packets.saturating_sub(before.tx_packets),
    )
}

/// Throughput as shapers at the roots count it, against their rates, by interface: their bytes are the ones that they let wait.
fn shapers<'a>(window: &Window<'a>) -> BTreeMap<(&'a Netns, u32), Use> {
    let roots = window.qdiscs().filter(|row| row.now.parent == ROOT);
    roots
        .filter_map(|row| {
            let (iface, rate) = (&row.now.iface, row.now.rate_bits_per_s?);
            let passed = |qdisc: &Qdisc| qdisc.shaped_bytes.unwrap_or(qdisc.bytes);
            let bytes = passed(row.now).saturating_sub(passed(row.before));
            let used = row.per_second(bytes) * 8.0;
            let key = (row.netns, iface.ifindex);
            Some((key, throughput(row.netns, iface, used, Some(rate))))
        })
        .collect()
}

fn burst_rx(window: &Window, rows: &mut Vec<Use>) {
    for (maps, _) in window.interfaces() {
        let speed = link_of(window, &maps.netns, &maps.iface).and_then(Link::bits_per_s);
        rows.push(throughput(
            &maps.netns,
            &maps.iface,
            per_millisecond(maps.rx_peak_ms_bytes),
            speed,
        ));
    }
}

fn burst_tx(window: &Window, rows: &mut Vec<Use>) {
    for (maps, _) in window.interfaces() {
        let speed = link_of(window, &maps.netns, &maps.iface).and_then(Link::bits_per_s);
        let rate = shaper_rate(window, &maps.netns, &maps.iface);
        let capacity = speed.into_iter().chain(rate).min();
        rows.push(throughput(
            &maps.netns,
            &maps.iface,
            per_millisecond(maps.tx_peak_ms_bytes),
            capacity,
        ));
    }
}

fn carrier_changes(window: &Window, rows: &mut Vec<Amount>) {
    rows.extend(window.links().map(|row| {
        Amount {
            scope: scope(row.netns, &row.now.iface),
            delta: row
                .now
                .carrier_changes
                .saturating_sub(row.before.carrier_changes),
        }
    }));
}

fn up<'a>(window: &Window<'a>) -> impl Iterator<Item = Row<'a, Link>> {
    window
        .links()
        .filter(|row| row.now.admin_up && !row.now.loopback)
}

fn on_the_wire(link: &Link, bytes: u64, frames: u64) -> u64 {
    if link.kind.is_none() {
        bytes + ETHERNET_OVERHEAD_BYTES * frames
    } else {
        bytes
    }
}

fn per_millisecond(bytes: u64) -> f64 {
    bytes as f64 * 8.0 * 1000.0
}

/// A device's speed that is exceeded was invented, as emulated ones do: what they claim means nothing. The user's is believed, also
/// where a burst exceeds it.
fn believed(link: &Link, used: f64) -> Option<u64> {
    let is_likely = |bits: &u64| used <= *bits as f64 * INVENTED_RATIO;
    link.bits_per_s()
        .filter(|bits| link.stated_bits_per_s.is_some() || is_likely(bits))
}

fn throughput(netns: &Netns, iface: &Iface, used: f64, capacity: Option<u64>) -> Use {
    let capacity = capacity.map(|bits| bits as f64);
    Use {
        scope: scope(netns, iface),
        used,
        capacity,
        lower_bound: false,
    }
}

fn fullness(reading: &Use) -> f64 {
    reading
        .capacity
        .map_or(0.0, |capacity| reading.used / capacity)
}

fn shaper_rate(window: &Window, netns: &Netns, iface: &Iface) -> Option<u64> {
    let state = window
        .now
        .namespaces
        .iter()
        .find(|state| state.netns == *netns)?;
    let on_root = |qdisc: &&Qdisc| qdisc.iface == *iface && qdisc.parent == ROOT;
    state
        .qdiscs
        .iter()
        .filter(on_root)
        .find_map(|qdisc| qdisc.rate_bits_per_s)
}

fn link_of<'a>(window: &Window<'a>, netns: &Netns, iface: &Iface) -> Option<&'a Link> {
    let state = window
        .now
        .namespaces
        .iter()
        .find(|state| state.netns == *netns)?;
    state.links.iter().find(|link| link.iface == *iface)
}

fn scope(netns: &Netns, iface: &Iface) -> Scope {
    Scope::iface(netns, iface.ifindex, &iface.name)
}
