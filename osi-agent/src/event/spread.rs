//! Rate limiting that keeps the total: few events, whose counts add up to what the kernel counted.

use super::EVENTS_PER_KEY;

/// Shares a count among samples: one each, the last one carries the rest. Without samples one nameless event carries all.
///
/// More samples than counts means that some belong to the next window's count; the oldest are told.
pub(super) fn spread<T>(total: u64, samples: &[T]) -> Vec<(Option<&T>, u64)> {
    let told = samples
        .len()
        .min(EVENTS_PER_KEY)
        .min(usize::try_from(total).unwrap_or(usize::MAX));
    if total == 0 {
        return Vec::new();
    }
    let Some(last) = told.checked_sub(1) else {
        return vec![(None, total)];
    };
    let rest = total - last as u64;
    samples[..told]
        .iter()
        .enumerate()
        .map(|(i, sample)| (Some(sample), if i == last { rest } else { 1 }))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{EVENTS_PER_KEY, spread};

    #[test]
    fn the_last_one_carries_the_rest() {
        assert_eq!(spread(9, &['a', 'b']), [(Some(&'a'), 1), (Some(&'b'), 8)]);
        assert_eq!(spread::<char>(9, &[]), [(None, 9)]);
        assert_eq!(spread(0, &['a']), []);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_made_up(total in 0u64..1000, samples in 0usize..20) {
            let samples = vec![(); samples];
            let events = spread(total, &samples);
            prop_assert_eq!(events.iter().map(|(_, count)| count).sum::<u64>(), total);
            prop_assert!(events.len() <= EVENTS_PER_KEY);
            prop_assert!(events.iter().all(|(_, count)| *count > 0));
        }
    }
}
