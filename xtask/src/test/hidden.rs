//! What the kernel showed to no tracing program while a test ran, as the lab measures it.

use std::collections::BTreeMap;

/// Reads lines `hidden: <test>: <occurrences>`.
pub(super) fn parse(log: &str) -> BTreeMap<String, u64> {
    log.lines()
        .filter_map(|line| line.strip_prefix("hidden: ")?.rsplit_once(": "))
        .filter_map(|(test, count)| Some((test.to_owned(), count.parse().ok()?)))
        .collect()
}
