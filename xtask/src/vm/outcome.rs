//! What a guest's console says about probes and scenarios.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::test::complaint::Complaints;
use crate::test::skips;

/// How one cell of a table ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// As it should; for a probe, the variant.
    Ok(String),
    /// Not, and the first line of why.
    Failed(String),
    /// It cannot be had there, and why.
    Unavailable(String),
}

impl Cell {
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Ok(_) => None,
            Self::Failed(reason) | Self::Unavailable(reason) => Some(reason),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok(text) => text,
            Self::Failed(_) => "FAILED",
            Self::Unavailable(_) => "unavailable",
        })
    }
}

/// Everything about one kernel.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// As the guest names it.
    pub(super) kernel: Option<String>,
    /// In the order in which doctor lists them.
    pub(super) probes: Vec<(String, Cell)>,
    pub(super) scenarios: BTreeMap<String, Cell>,
    /// Whether it came to the end of its work.
    pub(super) finished: bool,
}

/// Reads a console. Scenarios that should have run are those that the guest listed and the `expected`.
pub(super) fn read(lines: &[String], expected: &[&str], ended: &str) -> Outcome {
    let marked = |mark: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix("@@")?.strip_prefix(mark))
            .map(str::trim)
    };
    let skipped: Vec<_> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("@@"))
        .collect();
    let skipped = skips::parse(&skipped.join("\n"));
    let finished = marked("end").is_some();
    let listed = lines
        .iter()
        .filter_map(|line| line.strip_prefix("@@listed ")?.strip_suffix(": test"));
    let mut complaints = Complaints::default();
    for line in lines {
        complaints.read(line);
    }
    let scenarios = listed
        .chain(expected.iter().copied())
        .map(|test| {
            let skip = skipped.iter().find(|skip| skip.test == test);
            let cell = match (skip, result(lines, test)) {
                (_, Some(End::Failed)) => Cell::Failed(complaints.of(test).to_owned()),
                (Some(skip), _) => Cell::Unavailable(skip.reason.clone()),
                (None, Some(End::Passed { took })) => {
                    Cell::Ok(format!("ok {took}").trim_end().to_owned())
                }
                (None, None) => Cell::Failed(format!("no result: {ended}")),
            };
            (test.to_owned(), cell)
        })
        .collect();
    Outcome {
        kernel: marked("kernel").map(str::to_owned),
        probes: marked("doctor").map(probes).unwrap_or_default(),
        scenarios,
        finished,
    }
}

/// How a test ended.
enum End<'a> {
    /// In time, as the harness writes it; empty where it does not.
    Passed {
        took: &'a str,
    },
    Failed,
}

/// How a test ended, if it came to an end.
fn result<'a>(lines: &'a [String], test: &str) -> Option<End<'a>> {
    lines.iter().find_map(|line| {
        let rest = line.strip_prefix("test ")?.strip_prefix(test)?;
        // The kernel may have written into the line, between name and result.
        let rest = rest.strip_prefix(" ... ")?;
        if rest.starts_with("FAILED") {
            return Some(End::Failed);
        }
        let took = rest.strip_prefix("ok")?.trim();
        let took = took
            .strip_prefix('<')
            .and_then(|took| took.strip_suffix('>'));
        Some(End::Passed {
            took: took.unwrap_or_default(),
        })
    })
}

fn probes(doctor: &str) -> Vec<(String, Cell)> {
    let report: Value = serde_json::from_str(doctor).unwrap_or_default();
    let text = |probe: &Value, field: &str| probe[field].as_str().unwrap_or_default().to_owned();
    let probes = report["probes"].as_array().cloned().unwrap_or_default();
    probes
        .iter()
        .map(|probe| {
            let cell = match probe["state"].as_str() {
                Some("active") => Cell::Ok(text(probe, "variant")),
                Some("off") => Cell::Ok("off".to_owned()),
                // Every kernel that we boot has a variant of every probe.
                _ => Cell::Failed(text(probe, "reason")),
            };
            (text(probe, "name"), cell)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Cell, read};

    const CONSOLE: &str = r#"[    1.0] a word of the kernel
@@up 3.1 2.0
@@kernel 6.1.0-9-cloud-amd64
@@listed a::b: test
@@listed a::c: test
@@listed a::d: test
@@listed
@@listed 3 tests, 0 benchmarks
@@doctor {"probes":[{"name":"tc","state":"active","variant":"clsact"},{"name":"xdp","state":"off","reason":"off"},{"name":"drops","state":"unavailable","reason":"refused at load"}]}
running 4 tests
test a::b has been running for over 60 seconds
test a::b ... ok <12.345s>
test a::c ... ok
test a::d ... FAILED
---- a::d stdout ----
Error: 40 connects ended otherwise
  and more
@@tested 101
@@skipped: a::c: needs TCX: Linux 6.6
@@end 30.0 1.0"#;

    #[test]
    fn every_expected_scenario_has_a_cell() {
        let lines: Vec<_> = CONSOLE.lines().map(str::to_owned).collect();
        let outcome = read(&lines, &["a::b", "a::e"], "the guest stopped");
        assert_eq!(outcome.kernel.as_deref(), Some("6.1.0-9-cloud-amd64"));
        assert!(outcome.finished);
        let cells: Vec<_> = outcome.scenarios.values().cloned().collect();
        assert_eq!(
            cells,
            [
                Cell::Ok("ok 12.345s".to_owned()),
                Cell::Unavailable("needs TCX: Linux 6.6".to_owned()),
                Cell::Failed("Error: 40 connects ended otherwise".to_owned()),
                Cell::Failed("no result: the guest stopped".to_owned()),
            ]
        );
        let probes: Vec<_> = outcome
            .probes
            .iter()
            .map(|(_, cell)| cell.to_string())
            .collect();
        assert_eq!(probes, ["clsact", "off", "FAILED"]);
    }
}
