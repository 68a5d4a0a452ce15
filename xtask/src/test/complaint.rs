//! What failed tests say, as the harness lists it at the end of a run.

use std::collections::BTreeMap;

/// What is said of a test of which the output has nothing.
const SILENT: &str = "the output does not say why";

/// The first line of each failed test's output.
#[derive(Default, Debug)]
pub(crate) struct Complaints {
    /// The test whose output begins with the next line.
    of_next: Option<String>,
    first: BTreeMap<String, String>,
}

impl Complaints {
    /// Takes in one line of a test program's output.
    pub(crate) fn read(&mut self, line: &str) {
        let head = line
            .strip_prefix("---- ")
            .and_then(|line| line.strip_suffix(" stdout ----"));
        if let Some(test) = head {
            self.of_next = Some(test.to_owned());
        } else if !line.is_empty()
            && let Some(test) = self.of_next.take()
        {
            self.first.insert(test, shortened(line));
        }
    }

    /// What a failed test said first, the last time that it failed.
    pub(crate) fn of(&self, test: &str) -> &str {
        self.first.get(test).map_or(SILENT, String::as_str)
    }
}

/// The first and the last words of a long line: what was tried, and what came of it.
fn shortened(line: &str) -> String {
    const SHOWN: usize = 200;
    let length = line.chars().count();
    if length <= 2 * SHOWN {
        return line.to_owned();
    }
    let head: String = line.chars().take(SHOWN).collect();
    let tail: String = line.chars().skip(length - SHOWN).collect();
    format!("{head} … {tail}")
}

#[cfg(test)]
mod tests {
    use super::{Complaints, SILENT};

    #[test]
    fn the_first_line_of_the_last_failure() {
        let mut complaints = Complaints::default();
        for line in [
            "---- a::b stdout ----",
            "Error: 4 of 5",
            "  and more",
            "",
            "---- a::c stdout ----",
            "",
            "thread 'a::c' panicked",
            "---- a::b stdout ----",
            "Error: 3 of 5",
        ] {
            complaints.read(line);
        }
        assert_eq!(complaints.of("a::b"), "Error: 3 of 5");
        assert_eq!(complaints.of("a::c"), "thread 'a::c' panicked");
        assert_eq!(complaints.of("a::d"), SILENT);
    }

    #[test]
    fn a_long_line_keeps_both_ends() {
        let mut complaints = Complaints::default();
        complaints.read("---- a stdout ----");
        complaints.read(&format!("tried{}failed", " ".repeat(500)));
        let kept = complaints.of("a");
        assert!(kept.starts_with("tried") && kept.ends_with("failed") && kept.len() < 420);
    }
}
