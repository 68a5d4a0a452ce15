//! Boot time, which events and windows carry, as wall-clock time, which people read.

use jiff::Timestamp;

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
            offset_ns: Timestamp::now().as_nanosecond() - i128::from(boot_ns()),
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

/// `CLOCK_BOOTTIME`.
fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(now.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Clock, boot_ns};

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

    #[test]
    fn now_is_now() {
        let shown: jiff::Timestamp = Clock::now().rfc3339(boot_ns()).parse().expect("RFC 3339");
        assert!(jiff::Timestamp::now().duration_since(shown).as_secs().abs() < 2);
    }
}
