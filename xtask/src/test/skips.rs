//! Tests that could not run here, as the lab reports them.

use std::fmt;

/// One test that was skipped, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skip {
    pub(crate) test: String,
    pub(crate) reason: String,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}: {}", self.test, self.reason)
    }
}

/// Reads lines `skipped: <test>: <reason>`; one entry a test, in order of name.
///
/// A test's own path has `::` in it, so the name ends at the first colon that a space follows.
pub(crate) fn parse(log: &str) -> Vec<Skip> {
    let mut skips: Vec<Skip> = log
        .lines()
        .filter_map(|line| line.strip_prefix("skipped: ")?.split_once(": "))
        .map(|(test, reason)| Skip {
            test: test.to_owned(),
            reason: reason.to_owned(),
        })
        .collect();
    skips.sort();
    skips.dedup_by(|a, b| a.test == b.test);
    skips
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_each_test_once_and_keeps_colons_in_path_and_reason() {
        let log =
            "skipped: l4::ports: needs nft: not found\nskipped: a: no\nnoise\nskipped: a: no\n";
        let lines: Vec<_> = parse(log).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["skipped: a: no", "skipped: l4::ports: needs nft: not found"]
        );
    }
}
