//! The table at the end: a column for each kernel, a row for each probe and each scenario, and the reasons below.

use std::fmt::Write as _;

use super::outcome::{Cell, Outcome};

/// A kernel's column.
pub(super) struct Column {
    /// The series.
    pub(super) name: String,
    /// How it was run, or why it was not.
    pub(super) note: String,
    /// What came of it; nothing when no kernel could be had.
    pub(super) outcome: Option<Outcome>,
}

/// Writes everything.
pub(super) fn render(columns: &[Column]) -> String {
    let mut text = String::new();
    for column in columns {
        let _infallible = writeln!(text, "{:<6} {}", column.name, column.note);
    }
    let probes = rows(columns, |outcome| {
        outcome
            .probes
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    });
    block(&mut text, "probe", &probes, columns, |outcome, name| {
        outcome
            .probes
            .iter()
            .find(|(probe, _)| probe == name)
            .map(|(_, cell)| cell)
    });
    let scenarios = rows(columns, |outcome| {
        outcome.scenarios.keys().cloned().collect()
    });
    block(
        &mut text,
        "scenario",
        &scenarios,
        columns,
        |outcome, name| outcome.scenarios.get(name),
    );
    text
}

/// Whether anything failed; a kernel that did not come to its end failed too.
pub(super) fn has_failed(columns: &[Column]) -> bool {
    let outcomes: Vec<_> = columns
        .iter()
        .filter_map(|column| column.outcome.as_ref())
        .collect();
    outcomes.is_empty()
        || outcomes.iter().any(|outcome| {
            let probes = outcome.probes.iter().map(|(_, cell)| cell);
            let mut cells = probes.chain(outcome.scenarios.values());
            !outcome.finished
                || outcome.probes.is_empty()
                || outcome.scenarios.is_empty()
                || cells.any(|cell| matches!(cell, Cell::Failed(_)))
        })
}

/// Every row that some kernel has, in the order of the first.
fn rows(columns: &[Column], of: impl Fn(&Outcome) -> Vec<String>) -> Vec<String> {
    let mut names = Vec::new();
    for outcome in columns.iter().filter_map(|column| column.outcome.as_ref()) {
        for name in of(outcome) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn block(
    text: &mut String,
    title: &str,
    names: &[String],
    columns: &[Column],
    cell: impl for<'a> Fn(&'a Outcome, &str) -> Option<&'a Cell>,
) {
    let width = names
        .iter()
        .map(String::len)
        .max()
        .unwrap_or(0)
        .max(title.len());
    let mut reasons = String::new();
    let _infallible = write!(text, "\n{title:<width$}");
    for column in columns {
        let _infallible = write!(text, "  {:<12}", column.name);
    }
    end_line(text);
    for name in names {
        let _infallible = write!(text, "{name:<width$}");
        for column in columns {
            let found = column
                .outcome
                .as_ref()
                .and_then(|outcome| cell(outcome, name));
            match found {
                Some(cell) => {
                    let _infallible = write!(text, "  {cell:<12}");
                    if let Some(reason) = cell.reason() {
                        let _infallible =
                            writeln!(reasons, "{cell} on {}: {name}: {reason}", column.name);
                    }
                }
                None => {
                    let _infallible = write!(text, "  {:<12}", "-");
                }
            }
        }
        end_line(text);
    }
    text.push_str(&reasons);
}

/// Ends a line without the padding of its last cell.
fn end_line(text: &mut String) {
    let end = text.trim_end_matches(' ').len();
    text.truncate(end);
    text.push('\n');
}
