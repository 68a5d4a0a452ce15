//! The sum of all test programs' results, and the lines a run ends with.

use std::collections::BTreeMap;

use super::complaint::Complaints;
use super::skips::Skip;

/// What was run, what failed, what could not be run.
#[derive(Default, Debug)]
pub(super) struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
    failed_tests: Vec<String>,
    complaints: Complaints,
    skips: Vec<Skip>,
}

impl Summary {
    /// Takes in one line of a test program's output.
    pub(super) fn read(&mut self, line: &str) {
        self.complaints.read(line);
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += number_before(counts, " passed");
            self.failed += number_before(counts, " failed");
            self.ignored += number_before(counts, " ignored");
        } else if let Some(test) = failed_test(line) {
            self.failed_tests.push(test.to_owned());
        }
    }

    /// Tests that ran only as far as finding out that they cannot: they returned, and so count as
    /// passed in their program's own result.
    pub(super) fn skip(&mut self, skips: Vec<Skip>) {
        self.passed = self.passed.saturating_sub(skips.len() as u64);
        self.skips.extend(skips);
    }

    /// Tests that were not started.
    pub(super) fn never_ran(&mut self, skips: impl IntoIterator<Item = Skip>) {
        self.skips.extend(skips);
    }

    /// A test program that failed without a failed test: it did not build, or it died.
    pub(super) fn broken(&mut self, what: String) {
        self.failed += 1;
        self.failed_tests.push(what);
    }

    /// Takes back, and names, the failed tests of which something was hidden: they are to be run again.
    pub(super) fn repeat(&mut self, hidden: &BTreeMap<String, u64>) -> Vec<String> {
        let (again, failed) = std::mem::take(&mut self.failed_tests)
            .into_iter()
            .partition::<Vec<_>, _>(|test| hidden.contains_key(test));
        self.failed_tests = failed;
        self.failed = self.failed.saturating_sub(again.len() as u64);
        for (test, count) in hidden.iter().filter(|(test, _)| again.contains(test)) {
            println!(
                "repeated: {test}: the kernel showed {count} occurrences to its own trace and to no program; {}",
                self.complaints.of(test)
            );
        }
        again
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    /// Failed tests with what they said, skipped ones with why, then the counts, last and alone on their line.
    pub(super) fn print(&self) {
        for test in &self.failed_tests {
            println!("failed: {test}: {}", self.complaints.of(test));
        }
        for skip in &self.skips {
            println!("{skip}");
        }
        println!("{}", self.counts());
    }

    fn counts(&self) -> String {
        let skipped = self.ignored + self.skips.len() as u64;
        format!(
            "{} passed, {} failed, {skipped} skipped",
            self.passed, self.failed
        )
    }
}

/// 12, out of `ok. 12 passed; 0 failed; …` for ` passed`.
fn number_before(counts: &str, word: &str) -> u64 {
    counts
        .split(';')
        .filter_map(|part| {
            part.strip_suffix(word)?
                .rsplit(' ')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

/// The name in `test <name> ... FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::Summary;
    use crate::test::{hidden, skips};

    fn read(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        for line in lines {
            summary.read(line);
        }
        summary
    }

    #[test]
    fn sums_every_result_line() {
        let summary = read(&[
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.10s",
            "test l4::ports ... FAILED",
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.00s",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ]);
        assert_eq!(summary.counts(), "15 passed, 1 failed, 1 skipped");
        assert_eq!(summary.failed_tests, ["l4::ports"]);
    }

    #[test]
    fn a_skipped_test_is_not_a_passed_one() {
        let mut summary = read(&["test result: ok. 5 passed; 0 failed; 0 ignored"]);
        summary.skip(skips::parse("skipped: a: no nft\nskipped: b: no tc\n"));
        assert_eq!(summary.counts(), "3 passed, 0 failed, 2 skipped");
        summary.never_ran(skips::parse("skipped: c: takes root\n"));
        assert_eq!(summary.counts(), "3 passed, 0 failed, 3 skipped");
    }

    #[test]
    fn only_what_was_hidden_is_repeated() {
        let mut summary = read(&[
            "test l4::ports ... FAILED",
            "test l3::drops ... FAILED",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored",
        ]);
        let hidden = hidden::parse("hidden: l3::drops: 8\nhidden: l2::fine: 2\n");
        assert_eq!(summary.repeat(&hidden), ["l3::drops"]);
        summary.read("test result: ok. 1 passed; 0 failed; 0 ignored");
        assert_eq!(summary.counts(), "4 passed, 1 failed, 0 skipped");
        assert_eq!(summary.failed_tests, ["l4::ports"]);
    }

    #[test]
    fn a_program_that_dies_is_a_failure() {
        let mut summary = read(&["running 3 tests", "test a ... ok"]);
        summary.broken("cargo test".to_owned());
        assert_eq!(summary.counts(), "0 passed, 1 failed, 0 skipped");
    }
}
