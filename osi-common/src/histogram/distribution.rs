//! Reading a histogram: count, mean, quantiles, buckets of an export. For user space; integers all the same.

use super::Grid;

/// What is known of a duration that a histogram counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpperBound {
    /// The duration was at most this many nanoseconds, and more than 91 % of that unless it is the lower end of the grid.
    AtMost(u64),
    /// The duration was longer than this many nanoseconds, the upper end of the grid.
    Above(u64),
}

impl UpperBound {
    /// The bound itself in nanoseconds, whichever side of it the duration is.
    pub const fn ns(self) -> u64 {
        match self {
            Self::AtMost(ns) | Self::Above(ns) => ns,
        }
    }
}

/// Counts on a [`Grid`], borrowed from a histogram of any range.
#[derive(Clone, Copy, Debug)]
pub struct Distribution<'a> {
    grid: Grid,
    slots: &'a [u64],
    sum_ns: u64,
}

impl<'a> Distribution<'a> {
    /// Reads `slots` as counts on `grid`; counts beyond the grid's last slot are not seen, missing ones are zero.
    pub fn new(grid: Grid, slots: &'a [u64], sum_ns: u64) -> Self {
        let slots = slots.get(..grid.slots()).unwrap_or(slots);
        Self {
            grid,
            slots,
            sum_ns,
        }
    }

    /// The range of the histogram.
    pub const fn grid(&self) -> Grid {
        self.grid
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.slots
            .iter()
            .fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Sum of the durations in nanoseconds.
    pub const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Mean duration in nanoseconds; `None` if nothing was counted.
    pub fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count())
    }

    /// Durations at or below the lower end of the grid: the zero bucket of an export.
    pub fn zero_count(&self) -> u64 {
        self.slots.first().copied().unwrap_or(0)
    }

    /// Durations above the upper end of the grid.
    pub fn overflow_count(&self) -> u64 {
        self.slots.get(self.grid.slots() - 1).copied().unwrap_or(0)
    }

    /// Non-empty buckets above the zero bucket, in order, as (Prometheus index, count); OTLP wants the index less one.
    ///
    /// Durations above the grid are given the index after its last bucket, so that an export keeps the true count.
    pub fn buckets(&self) -> impl Iterator<Item = (i32, u64)> + 'a {
        let grid = self.grid;
        self.slots
            .iter()
            .enumerate()
            .filter(|&(_, &count)| count > 0)
            .filter_map(move |(slot, &count)| Some((grid.prometheus_index(slot)?, count)))
    }

    /// Upper bound of the bucket in which the quantile falls; `None` if nothing was counted.
    ///
    /// The quantile is given in ten-thousandths (median 5000, p99 9900, p99.9 9990) and means the duration of rank
    /// ceil(q * count), at least the first: the smallest one that q of all durations do not exceed. The answer is
    /// never below that duration, and within the grid exceeds it by less than one bucket (9.1 %).
    pub fn quantile(&self, ten_thousandths: u64) -> Option<UpperBound> {
        quantile_slot(self.slots, self.count(), ten_thousandths).map(|slot| self.bound(slot))
    }

    /// Upper bound of the highest bucket in use: no duration counted was longer, unless it is `Above`.
    pub fn max(&self) -> Option<UpperBound> {
        let slot = self.slots.iter().rposition(|&count| count > 0)?;
        Some(self.bound(slot))
    }

    fn bound(&self, slot: usize) -> UpperBound {
        match self.grid.upper_ns(slot) {
            Some(ns) => UpperBound::AtMost(ns),
            None => UpperBound::Above(self.grid.upper_end_ns()),
        }
    }
}

/// The slot in which a quantile of `count` durations falls; see [`Distribution::quantile`].
pub(super) fn quantile_slot(slots: &[u64], count: u64, ten_thousandths: u64) -> Option<usize> {
    const WHOLE: u64 = 10_000;
    let share = ten_thousandths.min(WHOLE);
    let rank = (count / WHOLE * share + (count % WHOLE * share).div_ceil(WHOLE)).max(1);
    let mut seen: u64 = 0;
    slots.iter().position(|&count| {
        seen = seen.saturating_add(count);
        count > 0 && seen >= rank
    })
}
