//! What applications do with their connections, whatever the bytes on them mean: waits that begin and end.

use crate::histogram::Coarse;
use crate::pod::kernel_struct;

/// Peers whose answers are timed apart; at further ones the host's histogram alone counts, and that is said.
pub const MAX_DEPENDENCIES: u32 = 1024;

/// Pauses between the parts of one request are shorter.
pub const LEAST_REST_NS: u64 = 20_000_000;

/// Connections that are followed at once where their sockets have no storage for it; further ones are not, and that is said.
pub const MAX_CONNECTIONS: u32 = 16_384;

kernel_struct! {
    /// Waits of one kind in one place since it was first seen there: counters only, so that none of them is a gauge that drifts.
    #[derive(Default)]
    pub struct Span {
        /// Waits that ended, as they should or with their connection.
        pub ended: u64,
        /// Waits that began.
        pub begun: u64,
        /// `begun` as it was when a wait last ended as it should: all that came after has been waiting without any progress. Where
        /// waits end in their order as a rule, see [`Passed`].
        pub passed: u64,
        /// When the first of those began (boot time); or, where waits end in their order, when one last ended, if that was later.
        pub since_ns: u64,
        /// How long those took in all that ended as they should.
        pub sum_ns: u64,
        /// How long each of them took.
        pub times: Coarse,
    }

    /// What happened to requests at one listening port.
    #[derive(Default)]
    pub struct Requests {
        /// Unread data → the application's next read.
        pub dwell: Span,
        /// The highest number of those that were read.
        pub read: u64,
        /// The read that left nothing unread → the next send.
        pub response: Span,
    }

    /// What happened to what this host asked of one peer.
    #[derive(Default)]
    pub struct Dependency {
        /// The last send → the first data back.
        pub answers: Span,
        /// First data back on a connection that had rested after a send, for much longer than this took ([`was_at_rest`]): to what
        /// was sent before the rest, most likely no answer was due.
        pub not_due: u64,
    }
}

impl Span {
    /// Nothing happened yet.
    pub const ZERO: Self = Self {
        ended: 0,
        begun: 0,
        passed: 0,
        since_ns: 0,
        sum_ns: 0,
        times: Coarse::ZERO,
    };

    /// Waits that have not ended.
    pub fn in_flight(&self) -> u64 {
        self.begun.saturating_sub(self.ended)
    }

    /// Waits that began after the last one that ended as it should, whatever became of them.
    pub fn since_passed(&self) -> u64 {
        self.begun.saturating_sub(self.passed)
    }

    /// How long ago the first of these began; 0 where there is none.
    pub fn since_passed_ns(&self, now_ns: u64) -> u64 {
        if self.since_passed() == 0 {
            return 0;
        }
        now_ns.saturating_sub(self.since_ns)
    }

    /// Of these, the ones that have not ended.
    pub fn stuck(&self) -> u64 {
        self.since_passed().min(self.in_flight())
    }

    /// How long nothing has ended although something waits; 0 where nothing does.
    pub fn stuck_ns(&self, now_ns: u64) -> u64 {
        if self.stuck() == 0 {
            return 0;
        }
        self.since_passed_ns(now_ns)
    }
}

impl Dependency {
    /// Nothing happened yet.
    pub const ZERO: Self = Self {
        answers: Span::ZERO,
        not_due: 0,
    };
}

/// What has been passed over among waits that end in their order, as a rule: by whoever began later and has ended as it should.
/// Who is overtaken is left alone; who began after the latest that ended waits in vain.
///
/// Waits are known by the low half of the number that `begun` had with them. Those that begin at the same moment may share one, the
/// higher one: that passes over some that wait, and accuses nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The highest number of those that ended as they should.
    pub last: u64,
    /// This many have been passed over, or were given up after that one began: never fewer than there are.
    pub count: u64,
}

impl Passed {
    /// After this one has ended as it should.
    #[inline(always)]
    #[must_use]
    pub fn ending(self, begun: u64, number: u32) -> Self {
        let number = whole(begun, number);
        if number <= self.last {
            return self;
        }
        let count = if number == begun {
            begun
        } else {
            // Which of those that were given up it overtakes is not known.
            begun.min(self.count.saturating_add(number - self.last))
        };
        Self {
            last: number,
            count,
        }
    }

    /// After this one was given up.
    #[inline(always)]
    #[must_use]
    pub fn giving_up(self, begun: u64, number: u32) -> Self {
        if whole(begun, number) <= self.last {
            return self;
        }
        let count = begun.min(self.count.saturating_add(1));
        Self { count, ..self }
    }
}

/// The number that has this low half; one from before the counters were made anew is 0.
#[inline(always)]
fn whole(begun: u64, number: u32) -> u64 {
    let behind = (begun as u32).wrapping_sub(number);
    begun.saturating_sub(behind.into())
}

/// Whether a connection rested after a send for `rest_ns` before the next one, which was answered after `taken_ns`: much sooner. In
/// an upload, sends come about as far apart as its answer.
#[inline(always)]
pub fn was_at_rest(rest_ns: u64, taken_ns: u64) -> bool {
    rest_ns > LEAST_REST_NS && taken_ns < rest_ns / 8
}

impl Requests {
    /// Nothing happened yet.
    pub const ZERO: Self = Self {
        dwell: Span::ZERO,
        read: 0,
        response: Span::ZERO,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span {
        ended: 5,
        begun: 8,
        passed: 6,
        since_ns: 100,
        ..Span::ZERO
    };

    #[test]
    fn what_waits_without_progress_began_after_the_last_end() {
        assert_eq!((SPAN.in_flight(), SPAN.stuck()), (3, 2));
        assert_eq!(SPAN.stuck_ns(130), 30);
        let moving = Span { passed: 8, ..SPAN };
        assert_eq!((moving.stuck(), moving.stuck_ns(130)), (0, 0));
        let over = Span { ended: 8, ..SPAN };
        assert_eq!((over.in_flight(), over.stuck()), (0, 0));
        assert_eq!((over.since_passed(), over.since_passed_ns(130)), (2, 30));
    }

    #[test]
    fn counters_that_are_read_while_they_move_tell_of_nothing_negative() {
        let torn = Span {
            ended: 9,
            passed: 9,
            since_ns: 200,
            ..SPAN
        };
        assert_eq!((torn.in_flight(), torn.stuck()), (0, 0));
        assert_eq!(SPAN.stuck_ns(0), 0);
    }

    /// So many have begun and all are passed over.
    fn all(begun: u64) -> Passed {
        Passed {
            last: begun,
            count: begun,
        }
    }

    #[test]
    fn what_began_after_the_latest_that_ended_is_not_passed_over() {
        // The third of eight ends.
        let third = all(100).ending(108, 103);
        assert_eq!((third.last, third.count), (103, 103));
        // An earlier one changes nothing, the last one passes over all.
        assert_eq!(third.ending(108, 102), third);
        assert_eq!(third.ending(108, 108), all(108));
    }

    #[test]
    fn those_that_were_given_up_are_passed_over_in_any_order() {
        let orders: [[u32; 3]; 3] = [[101, 102, 103], [103, 102, 101], [102, 103, 101]];
        for order in orders {
            let given_up = |passed: Passed, number| passed.giving_up(103, number);
            let passed = order.into_iter().fold(all(100), given_up);
            assert_eq!(passed.count, 103);
        }
        // The last one is given up, and the others end: nothing waits.
        let passed = all(100).giving_up(103, 103).ending(103, 101);
        assert_eq!(passed.ending(103, 102).count, 103);
        // Who was passed over before is given up: no more than that.
        assert_eq!(all(100).giving_up(103, 99), all(100));
    }

    #[test]
    fn numbers_wrap_and_those_of_another_row_pass_over_nothing() {
        let begun = (1 << 32) + 5;
        let passed = all(begun - 10).ending(begun, u32::MAX);
        assert_eq!(passed.last, begun - 6);
        assert_eq!(all(0).ending(5, 77), all(0));
        assert_eq!(all(0).giving_up(5, 77), all(0));
    }

    #[test]
    fn a_rest_is_much_longer_than_the_answer_that_ends_it() {
        const MS: u64 = 1_000_000;
        assert!(was_at_rest(50 * MS, 5 * MS));
        assert!(was_at_rest(2000 * MS, 150 * MS));
        // Parts of one request, or of an upload.
        assert!(!was_at_rest(2 * MS, 0));
        assert!(!was_at_rest(100 * MS, 100 * MS));
    }
}
