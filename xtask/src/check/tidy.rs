//! House rules that no compiler checks; each says what is wrong and where.

use std::env;
use std::path::Path;

use anyhow::{Result, bail};

use super::pure;
use super::source::{self, Source};
use crate::sh;

const MAX_LINES: usize = 400;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "osi-common/src/drop/caller.rs",
        "a table, one row a kernel function",
    ),
    (
        "osi-common/src/drop/core.rs",
        "a table, one row a drop reason",
    ),
];

/// The layers' folders; a topic has the same path below them in every crate.
const LAYER_FOLDERS: [&str; 7] = [
    "l1_physical",
    "l2_data_link",
    "l3_network",
    "l4_transport",
    "l5_session",
    "l6_presentation",
    "l7_application",
];

/// A rule appends what it finds, as `path:line: sentence`.
type Rule = fn(&Source, &mut Vec<String>);

const RULES: &[Rule] = &[
    module_header,
    length,
    trailing_whitespace,
    layer_folder,
    no_ignored_test,
    pure::imports,
];

pub(super) fn check() -> Result<()> {
    let machine = machine_paths();
    let mut found = Vec::new();
    for source in source::all()? {
        for rule in RULES {
            rule(&source, &mut found);
        }
        machine_path(&source, &machine, &mut found);
    }
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    Ok(())
}

/// A module says in its first lines what it is for.
fn module_header(source: &Source, found: &mut Vec<String>) {
    if !is_rust(source) {
        return;
    }
    let first = source
        .text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    if !first.is_some_and(|line| line.starts_with("//! ")) {
        found.push(format!(
            "{}:1: begin with `//! ` and a sentence that says what the file is for",
            source.path
        ));
    }
}

fn length(source: &Source, found: &mut Vec<String>) {
    let lines = source.text.lines().count();
    let excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
    if is_rust(source) && lines > MAX_LINES && !excused {
        found.push(format!(
            "{}:{lines}: more than {MAX_LINES} lines: split it, or list it in LONG_FILES with a reason",
            source.path
        ));
    }
}

fn trailing_whitespace(source: &Source, found: &mut Vec<String>) {
    // Licence texts stay as they were published.
    if source.path.starts_with("LICENSE-") {
        return;
    }
    for (number, line) in numbered(&source.text) {
        if line.ends_with([' ', '\t', '\r']) {
            found.push(format!("{}:{number}: white space at the end", source.path));
        }
    }
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        found.push(format!("{}: no newline at the end", source.path));
    }
}

fn layer_folder(source: &Source, found: &mut Vec<String>) {
    let stray = source.path.split('/').find(|part| {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        let names_layer = matches!(name.as_bytes(), [b'l', b'1'..=b'7', b'_', ..]);
        names_layer && !LAYER_FOLDERS.contains(&name)
    });
    if let Some(stray) = stray {
        found.push(format!(
            "{}: `{stray}` is no layer's folder; they are {}",
            source.path,
            LAYER_FOLDERS.join(", ")
        ));
    }
}

/// A test that cannot run says so through the lab, with its reason, and is counted.
fn no_ignored_test(source: &Source, found: &mut Vec<String>) {
    if !is_rust(source) {
        return;
    }
    for (number, line) in numbered(&source.text) {
        if line.trim_start().starts_with("#[ignore") {
            found.push(format!(
                "{}:{number}: no ignored tests: skip with a reason when it runs",
                source.path
            ));
        }
    }
}

/// The directories of whoever runs the check: their own, and the checkout.
fn machine_paths() -> Vec<String> {
    let home = env::home_dir().map(|home| home.display().to_string());
    let checkout = sh::root().display().to_string();
    home.into_iter()
        .chain([checkout])
        .filter(|path| path.len() > 1)
        .map(|path| format!("{}/", path.trim_end_matches('/')))
        .collect()
}

fn machine_path(source: &Source, machine: &[String], found: &mut Vec<String>) {
    for (number, line) in numbered(&source.text) {
        if let Some(path) = machine.iter().find(|path| line.contains(path.as_str())) {
            found.push(format!(
                "{}:{number}: `{path}` is a path of this machine",
                source.path
            ));
        }
    }
}

fn is_rust(source: &Source) -> bool {
    Path::new(&source.path)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // Not `lines()`, which would hide a carriage return.
    (1..).zip(text.split('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(rule: Rule, path: &str, text: &str) -> usize {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let mut found = Vec::new();
        rule(&source, &mut found);
        found.len()
    }

    #[test]
    fn a_module_begins_with_its_purpose() {
        assert_eq!(findings(module_header, "a.rs", "//! What.\n"), 0);
        assert_eq!(
            findings(module_header, "a.rs", "#![no_std]\n\n//! What.\n"),
            0
        );
        assert_eq!(findings(module_header, "a.rs", "use std::fmt;\n"), 1);
        assert_eq!(findings(module_header, "a.rs", ""), 1);
        assert_eq!(findings(module_header, "a.md", "text\n"), 0);
    }

    #[test]
    fn a_long_file_is_reported() {
        assert_eq!(findings(length, "a.rs", &"x\n".repeat(MAX_LINES)), 0);
        assert_eq!(findings(length, "a.rs", &"x\n".repeat(MAX_LINES + 1)), 1);
    }

    #[test]
    fn white_space_at_a_line_end_is_reported() {
        assert_eq!(findings(trailing_whitespace, "a.md", "one\ntwo\n"), 0);
        assert_eq!(
            findings(trailing_whitespace, "a.md", "one \ntwo\t\nthree\r\n"),
            3
        );
        assert_eq!(findings(trailing_whitespace, "a.md", "no newline"), 1);
        assert_eq!(
            findings(trailing_whitespace, "LICENSE-MIT", "as published \n"),
            0
        );
    }

    #[test]
    fn layer_folders_are_the_seven() {
        assert_eq!(
            findings(layer_folder, "tests/src/l4_transport/tcp.rs", ""),
            0
        );
        assert_eq!(
            findings(layer_folder, "osi-common/src/l2_data_link.rs", ""),
            0
        );
        assert_eq!(findings(layer_folder, "tests/src/l4_tcp/tcp.rs", ""), 1);
        assert_eq!(findings(layer_folder, "tests/src/lab/l4.rs", ""), 0);
    }

    #[test]
    fn ignored_tests_are_reported() {
        assert_eq!(
            findings(no_ignored_test, "a.rs", "    #[ignore = \"slow\"]\n"),
            1
        );
        assert_eq!(
            findings(no_ignored_test, "a.rs", "// #[ignore] is not used\n"),
            0
        );
    }

    #[test]
    fn paths_of_this_machine_are_reported() {
        let source = Source {
            path: "a.md".to_owned(),
            text: "fine\nsee /somebody/else/notes\n".to_owned(),
        };
        let mut found = Vec::new();
        machine_path(&source, &["/somebody/".to_owned()], &mut found);
        assert_eq!(found, ["a.md:2: `/somebody/` is a path of this machine"]);
    }
}
