//! How meters moved over the last windows, and when they will be full if they go on like that.

use std::collections::{BTreeMap, VecDeque};

use crate::layer::{LayerMap, Meter, Read};
use crate::scope::Scope;

/// Windows that a trend looks back.
const POINTS: usize = 30;

/// Fewer points are no trend.
const MIN_POINTS: usize = 5;

/// The newest points, which tell how fast it rises now: what speeds up or levels off is not as fast as it was.
const RECENT: usize = 10;

/// Share of the variance that a straight line must explain: what jumps about is not rising steadily.
const MIN_FIT: f64 = 0.8;

/// Meters that are followed; further ones have no trend.
const MAX_METERS: usize = 4096;

/// Below this ratio a meter is not followed: it is far from full, and there may be thousands.
const MIN_RATIO: f64 = 0.01;

/// A prediction beyond this says nothing.
const HORIZON_S: f64 = 86_400.0;

/// How capacity meters moved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trends {
    rows: BTreeMap<(&'static str, Scope), VecDeque<(u64, f64)>>,
}

impl Trends {
    pub(super) fn observe(&mut self, map: &LayerMap) {
        let meters = map.layers.iter().flat_map(|layer| &layer.meters);
        for meter in meters.filter(|meter| matches!(meter.signal.read, Read::Capacity(_))) {
            let key = (meter.signal.id, meter.reading.scope.clone());
            let known = self.rows.contains_key(&key);
            if !known
                && (self.rows.len() >= MAX_METERS
                    || meter.ratio.is_none_or(|ratio| ratio < MIN_RATIO))
            {
                continue;
            }
            let points = self.rows.entry(key).or_default();
            points.push_back((map.boot_ns, meter.reading.used));
            if points.len() > POINTS {
                points.pop_front();
            }
        }
        self.rows
            .retain(|_, points| points.back().is_some_and(|(at, _)| *at == map.boot_ns));
    }

    /// Growth per second, if the meter is rising steadily.
    pub(crate) fn growth_per_s(&self, meter: &Meter) -> Option<f64> {
        let points = self
            .rows
            .get(&(meter.signal.id, meter.reading.scope.clone()))?;
        (points.len() >= MIN_POINTS).then_some(())?;
        let (start, base) = *points.front()?;
        // Differences first: boot times in nanoseconds would cost the sums their precision.
        let rising = |count| {
            let newest = points.iter().skip(points.len().saturating_sub(count));
            let (slope, fit) = line(
                newest.map(|(at, used)| (at.saturating_sub(start) as f64 / 1e9, used - base)),
            )?;
            (slope > 0.0 && fit >= MIN_FIT).then_some(slope)
        };
        rising(POINTS)?;
        rising(RECENT)
    }

    /// Time until the meter is full at its trend; `None` when it is not filling.
    pub(crate) fn time_to_full_ns(&self, meter: &Meter) -> Option<u64> {
        let missing = meter.reading.capacity? - meter.reading.used;
        let seconds = missing.max(0.0) / self.growth_per_s(meter)?;
        (seconds < HORIZON_S).then_some((seconds * 1e9) as u64)
    }
}

/// Least squares: slope, and the share of the variance that the line explains.
fn line(points: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    let (mut n, mut sx, mut sy, mut sxx, mut sxy, mut syy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in points {
        n += 1.0;
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
        syy += y * y;
    }
    let (vx, vy, c) = (n * sxx - sx * sx, n * syy - sy * sy, n * sxy - sx * sy);
    (vx > 0.0 && vy > 0.0).then(|| (c / vx, c * c / (vx * vy)))
}
