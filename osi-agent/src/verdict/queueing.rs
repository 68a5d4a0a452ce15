//! Whether packets wait in queues on the path: round-trip times far above what the path allows.

use osi_common::histogram::UpperBound;
use osi_common::layer::Layer;

use super::{Evidence, Facts};
use crate::layer::Signal;
use crate::layer::l4_transport::round_trip::{TCP_RTT, TCP_RTT_LEAST};

/// Fewer samples say nothing of the path.
const SAMPLES: u64 = 20;

/// From so many times the least on, and from so much more of it: on a LAN, scheduling alone triples what is next to nothing.
const TIMES: f64 = 3.0;
const MORE_NS: u64 = 20_000_000;

/// The median round-trip time as evidence, where most of it is spent in queues. No cause of its own: something fills them.
pub(super) fn queueing(facts: &Facts) -> Option<Evidence> {
    let (now, least) = (median(facts, &TCP_RTT)?, median(facts, &TCP_RTT_LEAST)?);
    let times = now as f64 / least.max(1) as f64;
    if times < TIMES || now.saturating_sub(least) < MORE_NS {
        return None;
    }
    let why = format!(
        "median round-trip time of this host's connections, {times:.0} times the least that their paths allow: packets wait in queues"
    );
    Some(Evidence::new(TCP_RTT.id, now as f64, "ns", why))
}

fn median(facts: &Facts, signal: &'static Signal) -> Option<u64> {
    let latencies = &facts.map.layer(Layer::L4).latencies;
    let reading = latencies
        .iter()
        .find(|row| std::ptr::eq(row.signal, signal))?;
    let times = reading.histogram.distribution();
    match times.quantile(5000)? {
        UpperBound::AtMost(ns) if times.count() >= SAMPLES => Some(ns),
        UpperBound::AtMost(_) | UpperBound::Above(_) => None,
    }
}
