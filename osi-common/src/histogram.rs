//! Latency histograms on the grid of Prometheus native histograms, filled in the kernel, exact to the nanosecond.
//!
//! Bucket `i` holds durations in (2^((i-1)/8), 2^(i/8)] **seconds**: eight buckets an octave, each 9 % wide, upper
//! bound inclusive. That is schema 3 of Prometheus native histograms with the same `i`, and scale 3 of OTLP
//! exponential histograms with `i - 1`; so exports copy counts, and histograms of many hosts merge without error.
//! Each histogram declares the octaves it needs as a [`Grid`], with one slot below and one above them.
//! The decision and its alternatives are in `docs/adr/0003-histogram-grid.md`.
#![expect(
    clippy::inline_always,
    reason = "kernel code: a call costs more than the body, and old verifiers follow a value better without one"
)]

mod boundary;
mod coarse;
mod distribution;

pub use coarse::{COARSE_SLOTS, Coarse};
pub use distribution::{Distribution, UpperBound};

/// Resolution of the grid: every octave has 2^SCALE buckets (Prometheus calls it schema, OTLP scale).
pub const SCALE: u32 = 3;

/// Buckets in one octave.
pub const BUCKETS_PER_OCTAVE: usize = 1 << SCALE;

/// Prometheus index of the first boundary in the table, 2^-25 s.
const FIRST_INDEX: i32 = boundary::MIN_EXP * BUCKETS_PER_OCTAVE as i32;

/// Octaves between one tick (2^-30 s) and the first boundary of the table.
const TICK_OCTAVES: u32 = (30 + boundary::MIN_EXP) as u32;

/// Longest duration whose ticks fit 64 bits, in nanoseconds: 2.44 hours, beyond the last boundary.
const LONGEST_NS: u64 = (1 << 43) - 1;

/// Prometheus index of the bucket that holds `ns`: exact above 2^-25 s and up to 2^13 s, clamped outside.
///
/// Straight-line integer code for the kernel. The duration is cut to ticks of 2^-30 s, whose octave and top three
/// mantissa bits number a bucket of a piecewise linear grid. As log2(1+x) lies between x and x + 0.087, a linear
/// bucket begins at or above the exponential boundary of its number and ends less than a bucket after the next
/// one. So the true bucket is one of two, and a single comparison with the exact boundary between them decides.
/// One nanosecond is taken off first, so that a duration equal to a boundary stays below it.
#[inline(always)]
pub fn bucket_index(ns: u64) -> i32 {
    position(ns) as i32 + FIRST_INDEX
}

/// Position of the bucket in the table of boundaries, from 1 (and everything shorter) to `COUNT` (too long).
#[inline(always)]
fn position(ns: u64) -> usize {
    let below = ns.saturating_sub(1).min(LONGEST_NS);
    // 2^30 ticks a second over 10^9 ns a second is 2^21 / 1953125.
    let ticks = ((below << 21) / 1_953_125).max(1 << TICK_OCTAVES);
    let octave = highest_bit(ticks);
    // The highest bit and the three below it, 8 to 15. The compiler does not know that, so that it adds where it would
    // otherwise combine disjoint bits: of two unknown operands of an "or", the verifiers of 5.10 and 6.1 forget every bound.
    let top = (ticks >> (octave - SCALE)) as usize;
    let octaves = (octave - TICK_OCTAVES) as usize * BUCKETS_PER_OCTAVE;
    // The remainder changes nothing; it is the bound that the verifier sees.
    let linear = octaves.wrapping_add(top).wrapping_sub(BUCKETS_PER_OCTAVE) % boundary::PADDED;
    match boundary::NEXT_NS.get(linear) {
        Some(&next) if ns > next => linear + 2,
        _ => linear + 1,
    }
}

/// Number of the highest bit set, 0 to 63; 0 for 0.
///
/// BPF has no instruction for it, and the compiler's expansion takes twice as many as this multiplication: the
/// product of all bits below the highest one and a De Bruijn number has a different top six bits for each of the 64.
/// The table also hides the result's range from the compiler, which would otherwise drop the bounds checks that its
/// users need: it can bound a logarithm by the value, the kernel's verifier cannot.
#[inline(always)]
fn highest_bit(value: u64) -> u32 {
    let mut below = value;
    below |= below >> 1;
    below |= below >> 2;
    below |= below >> 4;
    below |= below >> 8;
    below |= below >> 16;
    below |= below >> 32;
    let product = below.wrapping_mul(0x03F6_EAF2_CD27_1461);
    HIGHEST_BIT
        .get((product >> 58) as usize)
        .map_or(0, |&bit| u32::from(bit))
}

/// Highest bit by the top six bits of the product in [`highest_bit`].
#[rustfmt::skip]
static HIGHEST_BIT: [u8; 64] = [
    0, 58, 1, 59, 47, 53, 2, 60, 39, 48, 27, 54, 33, 42, 3, 61,
    51, 37, 40, 49, 18, 28, 20, 55, 30, 34, 11, 43, 14, 22, 4, 62,
    57, 46, 52, 38, 26, 32, 41, 50, 36, 17, 19, 29, 10, 13, 21, 56,
    45, 25, 31, 35, 16, 9, 12, 44, 24, 15, 8, 23, 7, 6, 5, 63,
];

/// The octaves a histogram resolves, as powers of two of a second, and with them its number of slots.
///
/// Slot 0 counts what is at or below 2^`min_exp` s (the zero bucket of an export, with that threshold), slots 1 to
/// `8 * octaves` are the buckets in order, the last slot counts what is above 2^`max_exp` s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    min_exp: i32,
    max_exp: i32,
}

impl Grid {
    /// A grid from 2^`min_exp` s to 2^`max_exp` s. Meant for constants: a range that the table of boundaries does
    /// not cover (2^-24 s to 2^13 s), or an empty one, does not compile there.
    pub const fn new(min_exp: i32, max_exp: i32) -> Self {
        assert!(
            boundary::MIN_EXP < min_exp && min_exp < max_exp && max_exp <= boundary::MAX_EXP,
            "histogram range outside 2^-24 s to 2^13 s"
        );
        Self { min_exp, max_exp }
    }

    /// Exponent of the lower end: 2^`min_exp` s.
    pub const fn min_exp(self) -> i32 {
        self.min_exp
    }

    /// Exponent of the upper end: 2^`max_exp` s.
    pub const fn max_exp(self) -> i32 {
        self.max_exp
    }

    /// Number of slots: the buckets and the two ends.
    pub const fn slots(self) -> usize {
        (self.max_exp - self.min_exp) as usize * BUCKETS_PER_OCTAVE + 2
    }

    /// Slot that counts a duration of `ns` nanoseconds; always below [`slots`](Self::slots).
    #[inline(always)]
    pub fn slot(self, ns: u64) -> usize {
        position(ns)
            .saturating_sub(self.first_position())
            .min(self.slots() - 1)
    }

    /// Prometheus index of a slot; `None` for slot 0, the zero bucket, and beyond the last slot.
    ///
    /// The overflow slot has the index after the last bucket: all that is known is that its durations are longer.
    pub fn prometheus_index(self, slot: usize) -> Option<i32> {
        (0 < slot && slot < self.slots())
            .then(|| self.min_exp * BUCKETS_PER_OCTAVE as i32 + slot as i32)
    }

    /// Longest duration that a slot counts, in nanoseconds; `None` for the overflow slot and beyond.
    pub fn upper_ns(self, slot: usize) -> Option<u64> {
        if slot + 1 >= self.slots() {
            return None;
        }
        boundary::UPPER_NS
            .get(self.first_position() + slot)
            .copied()
    }

    /// Upper end of the grid in nanoseconds: 2^`max_exp` s, rounded down.
    pub fn upper_end_ns(self) -> u64 {
        self.upper_ns(self.slots() - 2).unwrap_or(u64::MAX)
    }

    /// Position in the table of boundaries of this grid's lower end.
    const fn first_position(self) -> usize {
        (self.min_exp - boundary::MIN_EXP) as usize * BUCKETS_PER_OCTAVE
    }
}

/// Range of network latencies: 2^-20 s (about 1 µs) to 2^7 s (128 s, beyond the last TCP SYN retry).
pub const LATENCY: Grid = Grid::new(-20, 7);

/// Slots of [`LATENCY`]: 27 octaves of eight, and the two ends.
pub const LATENCY_SLOTS: usize = LATENCY.slots();

/// Histogram of network latencies; 1752 bytes in a kernel map, for each possible CPU.
pub type LatencyHistogram = Histogram<-20, 7, LATENCY_SLOTS>;

/// Durations counted by slot, and their sum: the value of a kernel map.
///
/// The count is the sum of the slots and not a field: what is derived cannot disagree. `SLOTS` must be
/// `Grid::new(MIN_EXP, MAX_EXP).slots()`; anything else does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Histogram<const MIN_EXP: i32, const MAX_EXP: i32, const SLOTS: usize> {
    /// Durations per slot of [`Histogram::GRID`].
    pub slots: [u64; SLOTS],
    /// Sum of all durations in nanoseconds, those of the two ends included; it wraps.
    pub sum_ns: u64,
}

impl<const MIN_EXP: i32, const MAX_EXP: i32, const SLOTS: usize>
    Histogram<MIN_EXP, MAX_EXP, SLOTS>
{
    /// The range of this histogram.
    pub const GRID: Grid = {
        let grid = Grid::new(MIN_EXP, MAX_EXP);
        assert!(
            grid.slots() == SLOTS,
            "number of slots does not match the range"
        );
        grid
    };

    /// A histogram that has counted nothing.
    pub const EMPTY: Self = {
        assert!(Self::GRID.slots() == SLOTS);
        Self {
            slots: [0; SLOTS],
            sum_ns: 0,
        }
    };

    /// Slot that counts a duration of `ns` nanoseconds, always below `SLOTS`.
    ///
    /// For kernel code that adds atomically; where one program owns the value, [`record`](Self::record) does all.
    #[inline(always)]
    pub fn slot(ns: u64) -> usize {
        Self::GRID.slot(ns)
    }

    /// Counts one duration of `ns` nanoseconds.
    #[inline(always)]
    pub fn record(&mut self, ns: u64) {
        if let Some(count) = self.slots.get_mut(Self::slot(ns)) {
            *count = count.wrapping_add(1);
        }
        self.sum_ns = self.sum_ns.wrapping_add(ns);
    }

    /// Adds the counts of another histogram: another CPU, or another row of the same signal.
    pub fn merge(&mut self, other: &Self) {
        let Self { slots, sum_ns } = other;
        for (mine, theirs) in self.slots.iter_mut().zip(slots) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.sum_ns = self.sum_ns.wrapping_add(*sum_ns);
    }

    /// What was counted since `previous`, an earlier reading of the same map value.
    ///
    /// If any slot went backwards the value was created anew, and all that it holds now is new.
    #[must_use]
    pub fn delta(&self, previous: &Self) -> Self {
        let Self { slots, sum_ns } = previous;
        let reset = self.slots.iter().zip(slots).any(|(now, then)| now < then);
        if reset {
            return *self;
        }
        let mut delta = *self;
        for (now, then) in delta.slots.iter_mut().zip(slots) {
            *now = now.wrapping_sub(*then);
        }
        delta.sum_ns = self.sum_ns.wrapping_sub(*sum_ns);
        delta
    }

    /// The counts with their grid, to be asked for quantiles and exported.
    pub fn distribution(&self) -> Distribution<'_> {
        Distribution::new(Self::GRID, &self.slots, self.sum_ns)
    }
}

impl<const MIN_EXP: i32, const MAX_EXP: i32, const SLOTS: usize> Default
    for Histogram<MIN_EXP, MAX_EXP, SLOTS>
{
    fn default() -> Self {
        Self::EMPTY
    }
}

// SAFETY: `Histogram` is `repr(C)` and made of `u64` only, so it has no padding and every bit pattern is valid.
#[cfg(feature = "user")]
unsafe impl<const MIN_EXP: i32, const MAX_EXP: i32, const SLOTS: usize> aya::Pod
    for Histogram<MIN_EXP, MAX_EXP, SLOTS>
{
}

// SAFETY: `Coarse` is `repr(C)` and made of `u64` only, so it has no padding and every bit pattern is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Coarse {}

#[cfg(test)]
mod tests;
