//! What applications do with their connections, whatever the bytes on them mean: waits that begin and end.

use crate::histogram::Coarse;
use crate::pod::kernel_struct;

/// Peers whose answers are timed apart; at further ones the host's histogram alone counts, and that is said.
pub const MAX_DEPENDENCIES: u32 = 1024;

/// A send that comes so much later than one without an answer is not about the same matter.
pub const AGAIN_NS: u64 = 100_000_000;

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
        /// waits end in their order as a rule, `begun` as it was when that wait began: what came with it and waits on, counts.
        pub passed: u64,
        /// When the first of those began (boot time), or, where waits end in their order, when one ended later than that.
        pub since_ns: u64,
        /// How long those took in all that ended as they should.
        pub sum_ns: u64,
        /// How long each of them took.
        pub times: Coarse,
    }

    /// What happened to requests at one listening port.
    #[derive(Default)]
    pub struct Requests {
        /// Unread data → the application's next read. These end in their order, as a rule: who is overtaken is left alone.
        pub dwell: Span,
        /// The read that left nothing unread → the next send.
        pub response: Span,
    }

    /// What happened to what this host asked of one peer.
    #[derive(Default)]
    pub struct Dependency {
        /// The last send → the first data back.
        pub answers: Span,
        /// Answers that came sooner than [`AGAIN_NS`], to a send that came later than that after one that had got nothing back: to
        /// the one before, no answer was due.
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

    /// Whether connections with this peer often rest after a send that nothing is due for, as those of HTTP/2 do after a
    /// WINDOW_UPDATE: one answer in a hundred shows it.
    pub fn rests(&self) -> bool {
        self.not_due.saturating_mul(100) > self.answers.ended
    }
}

impl Requests {
    /// Nothing happened yet.
    pub const ZERO: Self = Self {
        dwell: Span::ZERO,
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

    #[test]
    fn a_peer_rests_where_more_than_one_answer_in_a_hundred_was_not_due() {
        let mut peer = Dependency::ZERO;
        assert!(!peer.rests());
        peer.answers.ended = 100;
        for (not_due, rests) in [(1, false), (2, true)] {
            peer.not_due = not_due;
            assert_eq!(peer.rests(), rests);
        }
    }
}
