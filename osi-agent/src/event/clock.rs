//! Boot time, which events and windows carry, as wall-clock time, which people read.

use jiff::Timestamp;

use crate::host::boot;

/// The offset between the two clocks. Taken anew for each window: the wall clock may be set, boot time never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Wall clock minus boot time, in nanoseconds.
    pub offset_ns: i128,
}

impl Clock {
    /// The offset right now.
    pub fn now() -> Self {
        Self {
            offset_ns: Timestamp::now().as_nanosecond() - i128::from(boot::now_ns()),
        }
    }

    /// RFC 3339 UTC with nanoseconds.
    pub fn rfc3339(self, boot_ns: u64) -> String {
        let timestamp = Timestamp::from_nanosecond(self.offset_ns + i128::from(boot_ns))
            .unwrap_or(Timestamp::MAX);
        format!("{timestamp:.9}")
    }

    /// The present moment, RFC 3339.
    pub fn timestamp() -> String {
        format!("{:.9}", Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, boot};

    #[test]
    fn nanoseconds_are_always_written_out() {
        let clock = Clock {
            offset_ns: 1_700_000_000_000_000_000,
        };
        assert_eq!(clock.rfc3339(0), "2023-11-14T22:13:20.000000000Z");
        assert_eq!(
            clock.rfc3339(1_500_000_007),
            "2023-11-14T22:13:21.500000007Z"
        );
    }

    /// Set by an hour, the wall clock shows everything an hour later, and no two moments further apart than they are.
    #[test]
    fn a_step_of_the_wall_clock_moves_moments_and_no_distance() {
        let clock = Clock::now();
        let stepped = Clock {
            offset_ns: clock.offset_ns + 3_600_000_000_000,
        };
        let read = |clock: Clock, boot_ns| -> jiff::Timestamp {
            clock.rfc3339(boot_ns).parse().expect("RFC 3339")
        };
        let (begun, ended) = (boot::now_ns(), boot::now_ns() + 1_000_000_000);
        let seconds =
            |from: jiff::Timestamp, to: jiff::Timestamp| to.duration_since(from).as_secs();
        assert_eq!(seconds(read(clock, begun), read(stepped, begun)), 3600);
        assert_eq!(
            read(stepped, ended).duration_since(read(stepped, begun)),
            read(clock, ended).duration_since(read(clock, begun))
        );
    }

    #[test]
    fn now_is_now() {
        let shown: jiff::Timestamp = Clock::now()
            .rfc3339(boot::now_ns())
            .parse()
            .expect("RFC 3339");
        assert!(jiff::Timestamp::now().duration_since(shown).as_secs().abs() < 2);
    }
}
