//! The verdict and a layer's limits in sentences, shared by the text block and the screen.

use std::time::Duration;

use super::human::{age, nanoseconds, percent, quantity, unit_word};
use super::text;
use crate::event::Event;
use crate::verdict::{
    CLEAR_WINDOWS, Confidence, Evidence, FaultMap, FindingRef, Impact, LayerFault, LayerState,
    MeterRow, Quiet, VerdictState,
};

/// `CRITICAL`, `WARN`, `OK`.
pub const fn state(state: VerdictState) -> &'static str {
    match state {
        VerdictState::Ok => "OK",
        VerdictState::Warn => "WARN",
        VerdictState::Critical => "CRITICAL",
    }
}

/// `certain`, `likely`, `possible`.
pub const fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Certain => "certain",
        Confidence::Likely => "likely",
        Confidence::Possible => "possible",
    }
}

/// The layer to fix and its cause: `L4 transport: ephemeral_ports_exhausted (certain, not seen for 3 s)`.
pub fn root(map: &FaultMap) -> Option<String> {
    let verdict = &map.verdict;
    let (layer, cause) = (verdict.layer.as_ref()?, verdict.cause.as_ref()?);
    let name = map
        .layers
        .iter()
        .find(|entry| entry.layer == *layer)
        .map_or_else(String::new, |entry| {
            format!(" {}", entry.name.replace('_', " "))
        });
    let sure = verdict.confidence.map(confidence).map(str::to_owned);
    let words: Vec<_> = sure.into_iter().chain(not_seen(verdict.quiet)).collect();
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(" ({})", words.join(", "))
    };
    Some(format!("{layer}{name}: {cause}{words}"))
}

/// `not seen for 3 s` where a condition does not hold any more.
pub fn not_seen(quiet: Option<Quiet>) -> Option<String> {
    let ns = quiet?.not_seen_ns;
    // Windows are a hair shorter or longer than they should be.
    let seconds = Duration::from_nanos(ns).as_secs_f64().round();
    let time = if seconds < 1.0 {
        nanoseconds(ns as f64)
    } else {
        age(Duration::from_secs(seconds as u64))
    };
    Some(format!("not seen for {time}"))
}

/// What an open finding without its condition is: how old it is, and when it closes.
pub fn fading(quiet: Option<Quiet>) -> Option<String> {
    let not_seen = not_seen(quiet)?;
    let clear = quiet?.clear_windows;
    Some(if clear >= CLEAR_WINDOWS {
        format!("{not_seen}; what is told here is from then")
    } else {
        format!(
            "{not_seen}, what is told here is from then; closes after {CLEAR_WINDOWS} clear windows, {clear} so far"
        )
    })
}

/// Whom it hurts; `None` where that is not known.
pub fn impact(impact: Impact) -> Option<String> {
    let Impact {
        connections,
        share_ratio,
        peers,
    } = impact;
    let plural = |n: u64, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let mut parts = Vec::new();
    if connections > 0 {
        parts.push(plural(connections, "connection"));
    }
    if share_ratio > 0.0 {
        parts.push(format!(
            "{} of the attempts or traffic",
            percent(share_ratio)
        ));
    }
    if peers > 0 {
        parts.push(plural(peers, "peer"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// A measured value with its unit: `412 events`.
pub fn measured(evidence: &Evidence) -> String {
    quantity(evidence.value, &evidence.unit) + &unit_word(&evidence.unit)
}

/// References: `L7 http_slow, L4 handshake_timeout`.
pub fn references(list: &[FindingRef]) -> String {
    list.iter()
        .map(|entry| format!("{} {}", entry.layer, entry.cause))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What stands to the right of a layer's bar: what was lost, the limiting meter and where; or why nothing can be seen.
pub fn beside(layer: &LayerFault) -> String {
    let mut parts = Vec::new();
    if layer.drops > 0 {
        parts.push(format!(
            "{} dropped",
            quantity(layer.drops as f64, "packets")
        ));
    }
    if layer.errors > 0 {
        parts.push(format!(
            "{} errors",
            quantity(layer.errors as f64, "events")
        ));
    }
    if layer.state == LayerState::Blind {
        parts.extend(layer.blind.first().map(|blind| blind.why.clone()));
    } else if let Some(meter) = &layer.limiting_meter
        // The fullest of meters that all stand at 0 limits nothing.
        && layer.saturation_ratio.is_some_and(|ratio| ratio > 0.0)
    {
        let place = layer
            .limiting_scope
            .as_ref()
            .map(text::scope)
            .unwrap_or_default();
        parts.push(format!("{meter} {place}").trim_end().to_owned());
    }
    parts.join(" · ")
}

/// Use of a meter: `27951 / 28232 ports`, `9.41 / 10.0 Gbit/s`.
pub fn usage(meter: &MeterRow) -> String {
    let used = quantity(meter.used, &meter.unit);
    let bound = if meter.lower_bound { "≥ " } else { "" };
    let unit = unit_word(&meter.unit);
    meter.capacity.map_or_else(
        || format!("{bound}{used}{unit}"),
        |capacity| format!("{bound}{used} / {}{unit}", quantity(capacity, &meter.unit)),
    )
}

/// When a meter is full at its present trend.
pub fn time_to_full(meter: &MeterRow) -> String {
    meter.time_to_full_ns.map_or_else(String::new, |ns| {
        format!("full in {}", nanoseconds(ns as f64))
    })
}

/// An event in one line, without its time: `L4 port_exhausted EADDRNOTAVAIL ×97 10.0.0.9:443 curl[4711]`.
pub fn event(event: &Event) -> String {
    let mut line = format!("{} {}", event.layer, event.kind.name());
    let mut add = |part: Option<String>| {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            line.push(' ');
            line.push_str(&part);
        }
    };
    add(event.errno.clone());
    add(event.reason.clone());
    add((event.count > 1).then(|| format!("×{}", event.count)));
    add(event.flow.as_ref().map(|flow| {
        let end = |address: &Option<String>, port: Option<u16>| {
            let address = address.clone().unwrap_or_default();
            let address = if address.contains(':') && port.is_some() {
                format!("[{address}]")
            } else {
                address
            };
            port.map_or_else(|| address.clone(), |port| format!("{address}:{port}"))
        };
        let (src, dst) = (end(&flow.src, flow.sport), end(&flow.dst, flow.dport));
        if src.is_empty() {
            dst
        } else {
            format!("{src} → {dst}")
        }
    }));
    add(event
        .process
        .as_ref()
        .map(|process| format!("{}[{}]", process.comm, process.pid)));
    add(event
        .process
        .as_ref()
        .and_then(|process| process.workload.words()));
    add(event.iface.as_ref().map(|iface| iface.name.clone()));
    add(event
        .function
        .as_ref()
        .map(|function| format!("in {function}()")));
    let netns = event
        .netns
        .as_ref()
        .and_then(|netns| netns.name.clone().or_else(|| netns.workload.words()))
        .filter(|name| name != "host");
    add(netns.map(|name| format!("netns {name}")));
    line
}

/// The time of day in an RFC 3339 timestamp: `15:00:42`.
pub fn time_of_day(rfc3339: &str) -> &str {
    rfc3339.get(11..19).unwrap_or(rfc3339)
}
