//! Drivers' counters as evidence and advice.

use crate::layer::l1_physical::driver::Growth;
use crate::snapshot::driver::DRIVERS;

use super::super::{Evidence, Finding};

/// Counters that a finding shows.
const SHOWN: usize = 8;
/// A queue with such a share of a counter is named.
const SKEWED: f64 = 0.9;

/// What the counters say, the fastest first.
pub(super) fn evidence<'a>(grown: impl Iterator<Item = Growth<'a>>) -> Vec<Evidence> {
    let mut grown: Vec<_> = grown.collect();
    grown.sort_by_key(|growth| std::cmp::Reverse(growth.by));
    grown.truncate(SHOWN);
    let row = |growth: &Growth| {
        let driver = &growth.driver.name;
        let skewed = growth
            .busiest
            .filter(|(_, by)| *by as f64 >= SKEWED * growth.by as f64);
        let queue = skewed.map_or_else(String::new, |(queue, by)| {
            format!("{by} of them in queue {queue}; ")
        });
        let why = match growth.row {
            Some(row) => format!("{queue}{driver}: {}", row.help),
            None => format!("{queue}{driver}: what this counter means is not known here"),
        };
        Evidence::new(growth.counter, growth.by as f64, "packets", why)
    };
    grown.iter().map(row).collect()
}

/// What to do about the first counter among a finding's evidence whose meaning is known.
pub(super) fn advice(finding: &Finding) -> Option<&'static str> {
    let rows = || DRIVERS.iter().flat_map(|(_, rows)| rows.iter());
    finding.evidence.iter().find_map(|shown| {
        let row =
            rows().find(|row| row.counter == shown.signal && shown.why.ends_with(row.help))?;
        Some(row.advice)
    })
}
