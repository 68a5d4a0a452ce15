//! The same grid with two buckets an octave: small enough for one histogram per peer and per listener.
//!
//! Schema 1 of Prometheus native histograms: each bucket is four of schema 3 together, so that both agree on every boundary.

use super::distribution::quantile_slot;
use super::{BUCKETS_PER_OCTAVE, LATENCY, LatencyHistogram};

/// Buckets of the fine grid in one of this.
const FINE: usize = 4;

/// Exponent of the lower end, 2^-12 s (244 µs): no verdict needs to tell what is faster apart.
const MIN_EXP: i32 = -12;

/// Coarse buckets of [`LATENCY`] below the lower end.
const BELOW: usize = (MIN_EXP - LATENCY.min_exp()) as usize * BUCKETS_PER_OCTAVE / FINE;

/// Slots: 15 octaves of two, up to 2^3 s (8 s), and the two ends.
pub const COARSE_SLOTS: usize = 32;

/// Durations counted by slot, each 41 % wide: part of a map value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Coarse {
    /// Durations per slot. The first counts what is at or below the lower end, the last what is above the upper one.
    pub slots: [u64; COARSE_SLOTS],
}

impl Coarse {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        slots: [0; COARSE_SLOTS],
    };

    /// Slot that counts a duration of `ns` nanoseconds, always below [`COARSE_SLOTS`].
    #[inline(always)]
    pub fn slot(ns: u64) -> usize {
        let fine = LatencyHistogram::slot(ns);
        fine.div_ceil(FINE)
            .saturating_sub(BELOW)
            .min(COARSE_SLOTS - 1)
    }

    /// Longest duration that a slot counts, in nanoseconds; `None` for the last slot.
    pub fn upper_ns(slot: usize) -> Option<u64> {
        let within = slot + 1 < COARSE_SLOTS;
        within
            .then(|| LATENCY.upper_ns((slot + BELOW) * FINE))
            .flatten()
    }

    /// Counts one duration.
    pub fn record(&mut self, ns: u64) {
        if let Some(count) = self.slots.get_mut(Self::slot(ns)) {
            *count = count.wrapping_add(1);
        }
    }

    /// Adds another share.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.slots.iter_mut().zip(other.slots) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// What was counted since an earlier reading; a slot that went backwards counts as not moved.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = *self;
        for (now, then) in delta.slots.iter_mut().zip(earlier.slots) {
            *now = now.saturating_sub(then);
        }
        delta
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.slots
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether any duration was above the upper end.
    pub fn is_beyond(&self) -> bool {
        self.slots[COARSE_SLOTS - 1] > 0
    }

    /// Durations in buckets that lie above `ns` as a whole: never more than were longer.
    pub fn longer_than(&self, ns: u64) -> u64 {
        let first = Self::slot(ns) + 1;
        let above = self.slots.iter().skip(first);
        above.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Upper bound of the bucket in which a quantile in ten-thousandths falls, as [`Distribution`](super::Distribution) has
    /// it; the upper end of the grid for what lies above, `None` if nothing was counted.
    pub fn quantile_ns(&self, ten_thousandths: u64) -> Option<u64> {
        let slot = quantile_slot(&self.slots, self.count(), ten_thousandths)?;
        Self::upper_ns(slot).or_else(|| Self::upper_ns(COARSE_SLOTS - 2))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_ends_are_powers_of_two_of_a_second() {
        assert_eq!(Coarse::upper_ns(0), Some(244_140));
        assert_eq!(Coarse::upper_ns(COARSE_SLOTS - 2), Some(8_000 * MS));
        assert_eq!(Coarse::upper_ns(COARSE_SLOTS - 1), None);
        assert_eq!((Coarse::slot(0), Coarse::slot(244_140)), (0, 0));
        assert_eq!(Coarse::slot(8_000 * MS), COARSE_SLOTS - 2);
        assert_eq!(Coarse::slot(8_000 * MS + 1), COARSE_SLOTS - 1);
        assert_eq!(Coarse::slot(u64::MAX), COARSE_SLOTS - 1);
    }

    #[test]
    fn quantiles_are_upper_bounds() {
        let mut times = Coarse::ZERO;
        assert_eq!(times.quantile_ns(5_000), None);
        (0..98).for_each(|_| times.record(MS));
        (0..2).for_each(|_| times.record(900 * MS));
        let bound = |share| times.quantile_ns(share).expect("counted");
        assert!((MS..=MS * 142 / 100).contains(&bound(5_000)));
        assert_eq!(bound(9_900), 1_000 * MS);
        assert_eq!((times.count(), times.longer_than(300 * MS)), (100, 2));
        // The bucket of 800 ms holds 900 ms as well: what may be shorter is not said to be longer.
        assert_eq!(times.longer_than(800 * MS), 0);
    }

    #[test]
    fn readings_add_up() {
        let mut earlier = Coarse::ZERO;
        earlier.record(MS);
        let mut now = earlier;
        now.record(MS);
        let delta = now.since(&earlier);
        assert_eq!(delta.count(), 1);
        let mut sum = earlier;
        sum.merge(&delta);
        assert_eq!(sum, now);
        assert_eq!(Coarse::ZERO.since(&now), Coarse::ZERO);
    }

    proptest! {
        #[test]
        fn every_duration_is_within_its_bucket(ns in 0_u64..20_000_000_000) {
            let slot = Coarse::slot(ns);
            if let Some(upper) = Coarse::upper_ns(slot) {
                prop_assert!(ns <= upper);
            }
            if let Some(lower) = slot.checked_sub(1).and_then(Coarse::upper_ns) {
                prop_assert!(ns > lower);
            }
        }
    }
}
