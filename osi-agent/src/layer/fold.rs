//! Runs every row of the signal table over a window.

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use super::{
    Counter, LatencyReading, LayerMap, LayerReading, Meter, Read, Signal, Use, Window,
    drops::drops,
    l2_data_link::{frames, neighbour},
    l6_presentation::tls,
    l7_application::{exchange::waiting, http},
    signals,
};
use crate::snapshot::Blind;
use osi_common::histogram::LatencyHistogram;
use osi_common::latency::Latency;

/// Turns a window into the layer map. `unavailable` tells why a probe or reader does not work, if it does not;
/// one that the options do not ask for (XDP, as a rule) is not blind.
pub fn fold(window: &Window, unavailable: &dyn Fn(&str) -> Option<String>) -> LayerMap {
    let mut layers: Vec<LayerReading> = Layer::ALL.iter().map(|layer| empty(*layer)).collect();
    for signal in signals() {
        let reading = &mut layers[signal.layer.index()];
        let missing = missing(signal, unavailable);
        if let Some(why) = missing.clone().or_else(|| unread(signal, window)) {
            reading.blind.push(Blind {
                layer: signal.layer,
                what: signal.id.to_owned(),
                why,
            });
            // Its other feeders moved in this window and in no other.
            if missing.is_none() && is_counter(&signal.read) {
                read(signal, window, reading);
            }
            continue;
        }
        // Traffic alone does not tell whether a layer is well.
        reading.sighted |= !matches!(signal.read, Read::Traffic(_));
        read(signal, window, reading);
    }
    for row in drops(window, |_| true) {
        layers[row.layer.index()].drops.push(row);
    }
    // A reader that is blind as a whole was told signal by signal.
    let is_told = |row: &Blind| {
        signals()
            .any(|signal| signal.layer == row.layer && signal.fed_by.contains(&row.what.as_str()))
    };
    let told = window.now.blind.iter().filter(|row| !is_told(row)).cloned();
    for blind in told.chain(frames::shadowed(window)) {
        layers[blind.layer.index()].blind.push(blind);
    }
    LayerMap {
        boot_ns: window.now.boot_ns,
        elapsed_ns: window.elapsed_ns(),
        layers,
    }
}

fn empty(layer: Layer) -> LayerReading {
    let (meters, counters, latencies, drops, blind) = Default::default();
    LayerReading {
        layer,
        meters,
        counters,
        latencies,
        drops,
        blind,
        sighted: false,
    }
}

/// Why a signal is blind for good: a feeder of it does not work on this host.
fn missing(signal: &Signal, unavailable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    signal.fed_by.iter().find_map(|feeder| {
        let why = unavailable(feeder)?;
        Some(format!("{feeder}: {why}"))
    })
}

/// Why it is blind in this window: a reader that feeds it did not answer.
fn unread(signal: &Signal, window: &Window) -> Option<String> {
    signal.fed_by.iter().find_map(|feeder| {
        let row = window.now.blind.iter().find(|row| row.what == *feeder)?;
        Some(format!("{feeder}: {}", row.why))
    })
}

const fn is_counter(read: &Read) -> bool {
    match read {
        Read::Errors(_) | Read::Drops(_) | Read::Traffic(_) => true,
        Read::Capacity(_) | Read::Indicator(_) | Read::Latency(_) => false,
    }
}

fn read(signal: &'static Signal, window: &Window, reading: &mut LayerReading) {
    match &signal.read {
        Read::Capacity(rows) | Read::Indicator(rows) => {
            let mut uses = Vec::new();
            rows(window, &mut uses);
            let mut meters: Vec<_> = uses
                .into_iter()
                .map(|reading| meter(signal, reading))
                .collect();
            let order = |a: &Meter, b: &Meter| {
                let by_ratio = b.ratio.unwrap_or(-1.0).total_cmp(&a.ratio.unwrap_or(-1.0));
                by_ratio.then_with(|| b.reading.used.total_cmp(&a.reading.used))
            };
            meters.sort_by(order);
            reading.meters.append(&mut meters);
        }
        Read::Errors(rows) | Read::Drops(rows) | Read::Traffic(rows) => {
            let mut amounts = Vec::new();
            rows(window, &mut amounts);
            let moved = amounts.into_iter().filter(|amount| amount.delta > 0);
            reading
                .counters
                .extend(moved.map(|amount| Counter { signal, amount }));
        }
        Read::Latency(which) => reading.latencies.extend(latency(signal, *which, window)),
    }
}

fn meter(signal: &'static Signal, reading: Use) -> Meter {
    let ratio = reading
        .capacity
        .filter(|capacity| *capacity > 0.0)
        .map(|capacity| reading.used / capacity);
    Meter {
        signal,
        reading,
        ratio,
    }
}

fn latency(signal: &'static Signal, which: Latency, window: &Window) -> Option<LatencyReading> {
    let now = window.now.kernel.latencies.get(which as usize)?;
    let before = window
        .previous
        .kernel
        .latencies
        .get(which as usize)
        .copied()
        .unwrap_or(LatencyHistogram::EMPTY);
    let kernel = &window.now.kernel;
    let of_waiting = |(in_flight, oldest_ns)| (in_flight, oldest_ns, 0);
    let (in_flight, oldest_age_ns, unmeasured) = match which {
        Latency::HandshakeClient => (
            kernel.handshakes_in_flight.values().sum(),
            kernel.oldest_handshake_ns,
            0,
        ),
        Latency::HandshakeServer => (
            0,
            0,
            window
                .occurrences(Kind::AcceptedUnmeasured)
                .map(|(_, _, count)| count.count)
                .sum(),
        ),
        Latency::NeighbourResolution => {
            let waiting = || neighbour::waiting(window);
            let oldest = waiting().map(|entry| entry.updated_ns).max();
            (waiting().count() as u64, oldest.unwrap_or(0), 0)
        }
        Latency::RequestDwell => {
            let spans = kernel.requests.values().map(|row| &row.dwell);
            of_waiting(waiting(window, spans))
        }
        Latency::Response => {
            let spans = kernel.requests.values().map(|row| &row.response);
            of_waiting(waiting(window, spans))
        }
        Latency::Dns => {
            let before = window.previous.kernel.queries_unmeasured;
            let unmeasured = kernel.queries_unmeasured.saturating_sub(before);
            (kernel.queries_in_flight, kernel.oldest_query_ns, unmeasured)
        }
        Latency::Tls => (
            kernel.tls_waiting.0,
            kernel.tls_waiting.1,
            tls::unmeasured(window),
        ),
        Latency::Http => (
            kernel.requests_in_flight,
            kernel.oldest_request_ns,
            http::unmeasured(window),
        ),
        // One that the client does not end has failed.
        Latency::Quic => (kernel.quic_waiting.0, kernel.quic_waiting.1, 0),
        Latency::Dependency => {
            let peers = kernel.dependencies.values();
            of_waiting(waiting(window, peers.map(|peer| &peer.answers)))
        }
        Latency::PortSearch
        | Latency::Forwarding
        | Latency::RoundTrip
        | Latency::LeastRoundTrip
        | Latency::HandshakeRetried
        | Latency::Session => (0, 0, 0),
    };
    Some(LatencyReading {
        signal,
        histogram: now.delta(&before),
        in_flight,
        oldest_age_ns,
        unmeasured,
    })
}
