//! The oracle: every index is checked against exact big integers, with no floating point anywhere.

extern crate std;

use std::vec::Vec;

use num_bigint::BigUint;
use proptest::prelude::*;

use super::*;

/// A small range, so that random durations often fall off both ends.
const SMALL: Grid = Grid::new(-10, -4);
type SmallHistogram = Histogram<-10, -4, { SMALL.slots() }>;

/// Whether `ns` nanoseconds are at most 2^(index/8) seconds: ns^8 <= 2^index * (10^9)^8, in whole numbers.
fn at_most_boundary(ns: u64, index: i32) -> bool {
    let left = BigUint::from(ns).pow(8);
    let right = BigUint::from(1_000_000_000_u64).pow(8);
    if index < 0 {
        (left << -index) <= right
    } else {
        left <= (right << index)
    }
}

/// Asserts that `bucket_index(ns)` is the bucket that holds `ns`, or the proper end of the table.
fn assert_exact(ns: u64) {
    let index = bucket_index(ns);
    let first = FIRST_INDEX + 1;
    let beyond = boundary::MAX_EXP * 8 + 1;
    assert!(
        (first..=beyond).contains(&index),
        "{ns} ns: index {index} outside the table"
    );
    if index < beyond {
        assert!(
            at_most_boundary(ns, index),
            "{ns} ns is above bucket {index}"
        );
    }
    if index > first {
        assert!(
            !at_most_boundary(ns, index - 1),
            "{ns} ns is below bucket {index}"
        );
    }
}

/// Durations spread evenly over octaves, up to the whole range of `u64`.
fn any_duration() -> impl Strategy<Value = u64> {
    (0_u32..64, any::<u64>()).prop_map(|(shift, bits)| bits >> shift)
}

fn small_histogram() -> impl Strategy<Value = SmallHistogram> {
    prop::collection::vec(any_duration(), 0..50).prop_map(|durations| filled(&durations))
}

fn filled<const MIN: i32, const MAX: i32, const SLOTS: usize>(
    durations: &[u64],
) -> Histogram<MIN, MAX, SLOTS> {
    let mut histogram = Histogram::EMPTY;
    for &ns in durations {
        histogram.record(ns);
    }
    histogram
}

fn merged(mut left: SmallHistogram, right: &SmallHistogram) -> SmallHistogram {
    left.merge(right);
    left
}

#[test]
fn every_boundary_is_the_largest_whole_nanosecond_below_the_true_one() {
    for (position, &upper) in boundary::UPPER_NS.iter().enumerate() {
        let index = FIRST_INDEX + position as i32;
        assert!(at_most_boundary(upper, index), "boundary {index} too high");
        assert!(
            !at_most_boundary(upper + 1, index),
            "boundary {index} too low"
        );
    }
}

#[test]
fn every_boundary_and_its_neighbours_are_placed_exactly() {
    for &upper in &boundary::UPPER_NS {
        for ns in upper - 2..=upper + 2 {
            assert_exact(ns);
        }
    }
}

#[test]
fn every_linear_bucket_edge_and_its_neighbours_are_placed_exactly() {
    for octave in 0..44_u32 {
        for mantissa in 8..16_u64 {
            let ticks = (mantissa << octave) >> 3;
            let ns = ((u128::from(ticks) * 1_953_125) >> 21) as u64;
            for ns in ns.saturating_sub(2)..=ns + 3 {
                assert_exact(ns);
            }
        }
    }
}

#[test]
fn highest_bit_is_the_integer_logarithm() {
    assert_eq!(highest_bit(0), 0);
    for bit in 0..64 {
        let power = 1_u64 << bit;
        assert_eq!(highest_bit(power), bit);
        assert_eq!(highest_bit(power | (power - 1)), bit);
    }
}

#[test]
fn powers_of_two_and_ten_are_placed_exactly() {
    for exponent in 0..64 {
        let power = 1_u64 << exponent;
        for ns in [power - 1, power, power.saturating_add(1)] {
            assert_exact(ns);
        }
    }
    for exponent in 0..20 {
        assert_exact(10_u64.pow(exponent));
    }
    assert_exact(u64::MAX);
}

#[test]
fn the_first_million_nanoseconds_are_placed_exactly() {
    let mut index = bucket_index(0);
    for ns in 0..1_000_000 {
        let next = bucket_index(ns);
        if next != index || ns % 997 == 0 {
            assert_exact(ns);
            assert_exact(ns.saturating_sub(1));
        }
        assert!(next >= index, "{ns} ns goes back from {index} to {next}");
        index = next;
    }
}

#[test]
fn one_second_is_in_bucket_zero_and_the_next_nanosecond_in_bucket_one() {
    assert_eq!(bucket_index(1_000_000_000), 0);
    assert_eq!(bucket_index(1_000_000_001), 1);
    assert_eq!(bucket_index(500_000_000), -8);
}

#[test]
fn latency_grid_has_27_octaves_and_two_ends() {
    assert_eq!(LATENCY_SLOTS, 27 * 8 + 2);
    assert_eq!(LATENCY.slot(0), 0);
    assert_eq!(LATENCY.slot(953), 0);
    assert_eq!(LATENCY.slot(954), 1);
    assert_eq!(LATENCY.slot(128_000_000_000), LATENCY_SLOTS - 2);
    assert_eq!(LATENCY.slot(128_000_000_001), LATENCY_SLOTS - 1);
    assert_eq!(LATENCY.slot(u64::MAX), LATENCY_SLOTS - 1);
    assert_eq!(LATENCY.upper_ns(0), Some(953));
    assert_eq!(LATENCY.upper_ns(LATENCY_SLOTS - 2), Some(128_000_000_000));
    assert_eq!(LATENCY.upper_ns(LATENCY_SLOTS - 1), None);
    assert_eq!(LATENCY.prometheus_index(0), None);
    assert_eq!(LATENCY.prometheus_index(1), Some(-159));
    assert_eq!(LATENCY.prometheus_index(LATENCY_SLOTS - 2), Some(56));
    assert_eq!(LATENCY.prometheus_index(LATENCY_SLOTS), None);
}

#[test]
fn widest_grid_resolves_all_that_the_table_holds() {
    let widest = Grid::new(-24, 13);
    for slot in 0..widest.slots() - 1 {
        let upper = widest.upper_ns(slot).unwrap_or(0);
        assert_eq!(widest.slot(upper), slot);
        assert_eq!(widest.slot(upper + 1), slot + 1);
    }
}

#[test]
fn an_empty_histogram_has_no_quantile_no_mean_and_no_bucket() {
    let empty = LatencyHistogram::EMPTY;
    let distribution = empty.distribution();
    assert_eq!(distribution.count(), 0);
    assert_eq!(distribution.mean_ns(), None);
    assert_eq!(distribution.quantile(9900), None);
    assert_eq!(distribution.max(), None);
    assert_eq!(distribution.buckets().count(), 0);
}

#[test]
fn ends_are_reported_as_what_they_are() {
    let histogram: SmallHistogram = filled(&[1, 5_000_000, 70_000_000_000]);
    let distribution = histogram.distribution();
    assert_eq!(distribution.zero_count(), 1);
    assert_eq!(distribution.overflow_count(), 1);
    assert_eq!(distribution.quantile(0), Some(UpperBound::AtMost(976_562)));
    assert_eq!(distribution.max(), Some(UpperBound::Above(62_500_000)));
    assert_eq!(distribution.max().map(UpperBound::ns), Some(62_500_000));
    assert!(distribution.buckets().eq([(-61, 1), (-31, 1)]));
}

#[test]
fn a_value_created_anew_counts_whole() {
    let before: SmallHistogram = filled(&[5_000_000, 6_000_000]);
    let after: SmallHistogram = filled(&[6_000_000]);
    assert_eq!(after.delta(&before), after);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_duration_is_placed_exactly(ns in any_duration()) {
        assert_exact(ns);
    }

    #[test]
    fn a_slot_is_the_bucket_cut_to_the_grid(ns in any_duration()) {
        let slot = SMALL.slot(ns);
        prop_assert!(slot < SMALL.slots());
        let index = bucket_index(ns).clamp(-80, -31);
        prop_assert_eq!(SMALL.prometheus_index(slot).unwrap_or(-80), index);
    }
}

proptest! {
    #[test]
    fn merge_commutes_and_associates(
        a in small_histogram(), b in small_histogram(), c in small_histogram()
    ) {
        prop_assert_eq!(merged(a, &b), merged(b, &a));
        prop_assert_eq!(merged(merged(a, &b), &c), merged(a, &merged(b, &c)));
        prop_assert_eq!(merged(a, &SmallHistogram::EMPTY), a);
    }

    #[test]
    fn delta_undoes_merge(a in small_histogram(), b in small_histogram()) {
        prop_assert_eq!(merged(a, &b).delta(&a), b);
        prop_assert_eq!(a.delta(&a), SmallHistogram::EMPTY);
    }

    #[test]
    fn delta_of_merged_cpus_is_the_merge_of_their_deltas(
        a in small_histogram(), b in small_histogram(), c in small_histogram(), d in small_histogram()
    ) {
        let (before_a, after_a) = (a, merged(a, &b));
        let (before_c, after_c) = (c, merged(c, &d));
        prop_assert_eq!(
            merged(after_a, &after_c).delta(&merged(before_a, &before_c)),
            merged(after_a.delta(&before_a), &after_c.delta(&before_c))
        );
    }

    #[test]
    fn buckets_and_the_zero_bucket_hold_every_duration(
        durations in prop::collection::vec(any_duration(), 0..200)
    ) {
        let histogram: SmallHistogram = filled(&durations);
        let distribution = histogram.distribution();
        let in_buckets: u64 = distribution.buckets().map(|(_, count)| count).sum();
        prop_assert_eq!(distribution.zero_count() + in_buckets, durations.len() as u64);
        prop_assert_eq!(distribution.count(), durations.len() as u64);
        prop_assert!(distribution.buckets().map(|(index, _)| index).is_sorted());
        let sum = durations.iter().fold(0_u64, |sum, ns| sum.wrapping_add(*ns));
        prop_assert_eq!(distribution.sum_ns(), sum);
    }

    #[test]
    fn quantiles_never_fall_as_the_share_grows(
        durations in prop::collection::vec(any_duration(), 1..200)
    ) {
        let histogram: LatencyHistogram = filled(&durations);
        let distribution = histogram.distribution();
        let quantiles: Vec<_> = (0..=10_000).step_by(50).map(|q| distribution.quantile(q)).collect();
        prop_assert!(quantiles.is_sorted());
        prop_assert_eq!(distribution.quantile(10_000), distribution.max());
    }

    #[test]
    fn a_quantile_is_less_than_one_bucket_above_the_true_one(
        mut durations in prop::collection::vec(954..=128_000_000_000_u64, 1..200),
        share in 0..=10_000_u64,
    ) {
        let histogram: LatencyHistogram = filled(&durations);
        durations.sort_unstable();
        let rank = (durations.len() as u64 * share).div_ceil(10_000).max(1);
        let truth = durations.get(rank as usize - 1).copied().unwrap_or(0);
        let Some(UpperBound::AtMost(answer)) = histogram.distribution().quantile(share) else {
            return Err(TestCaseError::fail("no quantile inside the grid"));
        };
        prop_assert!(truth <= answer);
        prop_assert_eq!(LATENCY.slot(truth), LATENCY.slot(answer));
        prop_assert!(answer as f64 <= truth as f64 * 1.0906 + 1.0);
    }
}
