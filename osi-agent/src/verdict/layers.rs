//! Seven layer entries of the fault map.

use std::collections::BTreeMap;

use osi_common::drop::Class;
use osi_common::histogram::{Coarse, UpperBound};
use osi_common::interface::{Direction, upper_bytes};
use osi_common::layer::Layer;

use super::{
    BlindRow, CounterKind, CounterRow, Coverage, DropReason, FailedConnects, Finding, History,
    LatencySummary, LayerFault, LayerState, MeterKind, MeterRow, PacketSizes, ScopedLatency,
    Severity, history::times_of,
};
use crate::event::{KilledBy, errno};
use crate::layer::l2_data_link::sizes::{Sizes, sizes};
use crate::layer::l4_transport::failures::{Failed, failed, failed_by_peer};
use crate::layer::{
    Counter, DropRow, LatencyReading, LayerMap, LayerReading, Meter, Read, Signal, Window,
};
use crate::scope::{Scope, ScopeKind};

/// Rows of one signal that are shown; the others are counted.
const ROWS_PER_SIGNAL: usize = 16;

/// Functions that are named per drop reason.
const FUNCTIONS_PER_REASON: usize = 4;

/// The layers of the fault map, L7 first.
pub(super) fn faults(
    window: &Window,
    map: &LayerMap,
    history: &History,
    open: &[Finding],
) -> Vec<LayerFault> {
    Layer::TOP_DOWN
        .iter()
        .map(|layer| fault(window, map.layer(*layer), history, open))
        .collect()
}

fn fault(
    window: &Window,
    reading: &LayerReading,
    history: &History,
    open: &[Finding],
) -> LayerFault {
    let limiting = limiting(window, reading);
    let (meters, meters_omitted) = first_rows(&reading.meters, |meter| meter.signal.id);
    let (counters, counters_omitted) = counters(reading);
    let (latency_by_scope, latency_by_scope_omitted) = scoped(window, reading.layer, history);
    let (failed_connects, failed_connects_omitted) = ledger(reading, || failed(window));
    let (failed_connects_by_peer, failed_connects_by_peer_omitted) =
        ledger(reading, || failed_by_peer(window));
    let (benign, harmful): (Vec<_>, Vec<_>) = reading
        .drops
        .iter()
        .partition(|row| row.class == Class::Benign);
    let dropped: u64 = harmful.iter().map(|row| row.packets).sum();
    LayerFault {
        layer: reading.layer.id().to_owned(),
        name: reading.layer.name().to_owned(),
        state: state(reading, open),
        coverage: if reading.blind.is_empty() {
            Coverage::Full
        } else {
            Coverage::Partial
        },
        saturation_ratio: limiting.and_then(|meter| meter.ratio),
        limiting_meter: limiting.map(|meter| meter.signal.id.to_owned()),
        limiting_scope: limiting.map(|meter| meter.reading.scope.clone()),
        drops: dropped.max(counted(reading, |read| matches!(read, Read::Drops(_)))),
        errors: counted(reading, |read| matches!(read, Read::Errors(_))),
        benign_drops: benign.iter().map(|row| row.packets).sum(),
        drops_by_reason: reading.drops.iter().map(reason).collect(),
        blind: reading
            .blind
            .iter()
            .map(|row| BlindRow {
                what: row.what.clone(),
                why: row.why.clone(),
            })
            .collect(),
        meters: meters
            .into_iter()
            .map(|meter| row(meter, history))
            .collect(),
        meters_omitted,
        counters,
        counters_omitted,
        packet_sizes: packet_sizes(window, reading.layer),
        latency: reading
            .latencies
            .iter()
            .map(|row| (row.signal.id.to_owned(), latency(row)))
            .collect(),
        latency_by_scope,
        latency_by_scope_omitted,
        failed_connects,
        failed_connects_omitted,
        failed_connects_by_peer,
        failed_connects_by_peer_omitted,
    }
}

/// Latencies by peer and by listening port.
fn scoped(window: &Window, layer: Layer, history: &History) -> (Vec<ScopedLatency>, u64) {
    let mut rows: Vec<(&'static Signal, Scope, Coarse)> =
        times_of(window, |signal| signal.layer == layer).collect();
    let p99 = |times: &Coarse| times.quantile_ns(9_900);
    rows.sort_by_key(|(_, _, times)| std::cmp::Reverse((p99(times), times.count())));
    let (first, omitted) = first_rows(&rows, |row| row.0.id);
    let row = |(signal, scope, times): &(&'static Signal, Scope, Coarse)| ScopedLatency {
        id: signal.id.to_owned(),
        scope: scope.clone(),
        count: times.count(),
        p50_ns: times.quantile_ns(5_000),
        p90_ns: times.quantile_ns(9_000),
        p99_ns: p99(times),
        usual_p99_ns: history.paces.usual_ns(signal, scope),
    };
    (first.into_iter().map(row).collect(), omitted)
}

/// The first rows of the ledger, and how many failed connects are in the others.
fn ledger(
    reading: &LayerReading,
    rows: impl FnOnce() -> Vec<Failed>,
) -> (Vec<FailedConnects>, u64) {
    if reading.layer != Layer::L4 {
        return (Vec::new(), 0);
    }
    let mut rows = rows();
    let rest = rows.split_off(rows.len().min(ROWS_PER_SIGNAL));
    let row = |row: Failed| FailedConnects {
        killed_by: KilledBy::of(row.layer, &row.what),
        errno: (row.errno != 0).then(|| errno::name(row.errno)),
        count: row.count,
        scope: row.scope,
    };
    let omitted = rest.iter().map(|row| row.count).sum();
    (rows.into_iter().map(row).collect(), omitted)
}

fn packet_sizes(window: &Window, layer: Layer) -> Vec<PacketSizes> {
    if layer != Layer::L2 {
        return Vec::new();
    }
    let row = |row: Sizes| {
        let classes = row.packets.iter().enumerate();
        let (upper_bytes, packets) = classes
            .filter(|(_, packets)| **packets > 0)
            .map(|(class, packets)| (upper_bytes(class), *packets))
            .unzip();
        PacketSizes {
            scope: row.scope,
            direction: match row.direction {
                Direction::Rx => "rx".to_owned(),
                Direction::Tx => "tx".to_owned(),
            },
            upper_bytes,
            packets,
        }
    };
    sizes(window).into_iter().map(row).collect()
}

fn state(reading: &LayerReading, open: &[Finding]) -> LayerState {
    if !reading.sighted {
        return LayerState::Blind;
    }
    let worst = open
        .iter()
        .filter(|finding| finding.layer == reading.layer.id())
        .map(|finding| finding.severity)
        .max();
    match worst {
        None => LayerState::Ok,
        Some(Severity::Warn) => LayerState::Warn,
        Some(Severity::Critical) => LayerState::Critical,
    }
}

/// The fullest capacity meter. What belongs to the whole host does not limit the one namespace that is watched.
fn limiting<'a>(window: &Window, reading: &'a LayerReading) -> Option<&'a Meter> {
    let counts = |meter: &&Meter| {
        let capacity = matches!(meter.signal.read, Read::Capacity(_)) && meter.ratio.is_some();
        capacity && !(window.single_netns && meter.reading.scope.kind == ScopeKind::Host)
    };
    // The first of equals, so that the answer does not depend on the order of a search.
    let fuller =
        |best: &'a Meter, next: &'a Meter| if next.ratio > best.ratio { next } else { best };
    reading.meters.iter().filter(counts).reduce(fuller)
}

fn counted(reading: &LayerReading, wanted: fn(&Read) -> bool) -> u64 {
    reading
        .counters
        .iter()
        .filter(|row| wanted(&row.signal.read))
        .map(|row| row.amount.delta)
        .sum()
}

/// The first rows of each signal, and how many were left out.
fn first_rows<'a, Row>(
    rows: impl IntoIterator<Item = &'a Row>,
    id: fn(&Row) -> &'static str,
) -> (Vec<&'a Row>, u64) {
    let (mut first, mut omitted) = (Vec::new(), 0);
    let mut of_signal: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        let shown = of_signal.entry(id(row)).or_default();
        if *shown == ROWS_PER_SIGNAL {
            omitted += 1;
            continue;
        }
        *shown += 1;
        first.push(row);
    }
    (first, omitted)
}

fn counters(reading: &LayerReading) -> (Vec<CounterRow>, u64) {
    let mut moved: Vec<_> = reading.counters.iter().collect();
    moved.sort_by_key(|row| std::cmp::Reverse(row.amount.delta));
    let (rows, omitted) = first_rows(moved, |row| row.signal.id);
    (rows.into_iter().filter_map(counter).collect(), omitted)
}

/// Nothing for a signal that is no counter, of which there is none among them.
fn counter(row: &Counter) -> Option<CounterRow> {
    let kind = match row.signal.read {
        Read::Traffic(_) => CounterKind::Traffic,
        Read::Errors(_) => CounterKind::Errors,
        Read::Drops(_) => CounterKind::Drops,
        Read::Capacity(_) | Read::Indicator(_) | Read::Latency(_) => return None,
    };
    Some(CounterRow {
        id: row.signal.id.to_owned(),
        kind,
        delta: row.amount.delta,
        unit: row.signal.unit.name().to_owned(),
        scope: row.amount.scope.clone(),
    })
}

fn row(meter: &Meter, history: &History) -> MeterRow {
    let capacity = matches!(meter.signal.read, Read::Capacity(_));
    MeterRow {
        id: meter.signal.id.to_owned(),
        kind: if capacity {
            MeterKind::Capacity
        } else {
            MeterKind::Indicator
        },
        used: meter.reading.used,
        capacity: meter.reading.capacity,
        unit: meter.signal.unit.name().to_owned(),
        ratio: meter.ratio,
        scope: meter.reading.scope.clone(),
        time_to_full_ns: history.trends.time_to_full_ns(meter),
        lower_bound: meter.reading.lower_bound,
    }
}

fn reason(row: &DropRow) -> DropReason {
    let DropRow {
        reason,
        functions,
        layer: _,
        class,
        scope,
        packets,
        segments,
        fragments,
    } = row;
    let named = functions
        .iter()
        .filter(|(function, _)| !function.is_empty());
    DropReason {
        reason: reason.to_string(),
        class: class.name().to_owned(),
        packets: *packets,
        segments: *segments,
        fragments: *fragments,
        functions: named
            .take(FUNCTIONS_PER_REASON)
            .map(|(function, _)| function.to_string())
            .collect(),
        scope: scope.clone(),
    }
}

fn latency(row: &LatencyReading) -> LatencySummary {
    let distribution = row.histogram.distribution();
    let quantile = |share| distribution.quantile(share).map(UpperBound::ns);
    LatencySummary {
        count: distribution.count(),
        p50_ns: quantile(5_000),
        p90_ns: quantile(9_000),
        p99_ns: quantile(9_900),
        max_ns: distribution.max().map(UpperBound::ns),
        in_flight: row.in_flight,
        oldest_age_ns: row.oldest_age_ns,
        unmeasured: row.unmeasured,
    }
}
