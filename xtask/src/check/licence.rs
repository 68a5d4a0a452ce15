//! Licences of everything that is built in: each expression must be satisfiable by allowed ones.

use anyhow::Result;

use crate::sh;

/// Licences that ask for no more than a notice, so that a static binary may carry them.
const ALLOWED: [&str; 10] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages, of every target and kind of dependency, whose licence is not allowed.
pub(super) fn violations() -> Result<Vec<String>> {
    let tree = sh::output(sh::cargo().args([
        "tree",
        "--locked",
        "--workspace",
        "--target=all",
        "--edges=normal,build,dev",
        "--prefix=none",
        "--no-dedupe",
        "--format={p}\t{l}",
    ]))?;
    let mut found: Vec<String> = tree
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(_, licence)| !is_allowed(licence))
        .map(|(package, licence)| {
            let licence = if licence.is_empty() {
                "none stated"
            } else {
                licence
            };
            format!("{package}: licence {licence}: not among the allowed ones")
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Whether an SPDX expression can be met with allowed licences only.
fn is_allowed(expression: &str) -> bool {
    // Old manifests write `MIT/Apache-2.0`.
    let expression = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    let mut words = words.as_slice();
    let allowed = any_of(&mut words);
    allowed && words.is_empty()
}

fn any_of(words: &mut &[&str]) -> bool {
    let mut allowed = all_of(words);
    while take(words, "OR") {
        allowed |= all_of(words);
    }
    allowed
}

fn all_of(words: &mut &[&str]) -> bool {
    let mut allowed = one(words);
    while take(words, "AND") {
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut &[&str]) -> bool {
    if take(words, "(") {
        return any_of(words) & take(words, ")");
    }
    match **words {
        [licence, "WITH", exception, ..] => {
            *words = &words[3..];
            ALLOWED.contains(&format!("{licence} WITH {exception}").as_str())
        }
        [licence, ..] => {
            *words = &words[1..];
            ALLOWED.contains(&licence)
        }
        [] => false,
    }
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let is_next = words.first() == Some(&word);
    if is_next {
        *words = &words[1..];
    }
    is_next
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn one_allowed_choice_is_enough() {
        for licence in [
            "MIT",
            "MIT/GPL-2.0",
            "MIT OR GPL-2.0-only",
            "LGPL-3.0 OR (MIT AND Zlib)",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
        ] {
            assert!(is_allowed(licence), "{licence}");
        }
    }

    #[test]
    fn every_demand_must_be_allowed() {
        for licence in [
            "",
            "GPL-2.0-only",
            "MIT AND LGPL-3.0",
            "(MIT OR Zlib) AND GPL-3.0-only",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "MIT Apache-2.0",
        ] {
            assert!(!is_allowed(licence), "{licence}");
        }
    }
}
