//! The wall around the model: `layer/` and `verdict/` take values and give values.

use super::source::Source;

/// The folders and files behind the wall.
const PURE: [&str; 4] = [
    "osi-agent/src/layer/",
    "osi-agent/src/layer.rs",
    "osi-agent/src/verdict/",
    "osi-agent/src/verdict.rs",
];

/// What would let the world in: the kernel, files, sockets, clocks, processes.
/// Addresses are values; `core::net` has them.
const FORBIDDEN: [&str; 12] = [
    "aya",
    "libc",
    "netlink_sys",
    "rustix",
    "tokio",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Reports every path in the code of a pure module that leads outside.
pub(super) fn imports(source: &Source, found: &mut Vec<String>) {
    if !PURE.iter().any(|path| source.path.starts_with(path)) {
        return;
    }
    let code = without_comments(&source.text);
    for path in used(&code) {
        if let Some(outside) = FORBIDDEN.iter().find(|outside| is_below(&path, outside)) {
            found.push(format!(
                "{}: uses `{path}`, but layer/ and verdict/ are pure: pass what `{outside}` would give as a value",
                source.path
            ));
        }
    }
}

fn is_below(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every path that is imported or written out, with `use` groups taken apart.
fn used(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for (index, piece) in code.split("use ").enumerate() {
        if index > 0
            && let Some((tree, _)) = piece.split_once(';')
        {
            let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
            expand("", &tree, &mut paths);
        }
    }
    paths.extend(
        code.split(|c| !is_name(c))
            .filter(|word| word.contains("::"))
            .map(|word| {
                word.trim_start_matches("::")
                    .trim_end_matches(':')
                    .to_owned()
            }),
    );
    paths.sort();
    paths.dedup();
    paths
}

/// `std::{fs, net::{IpAddr}}` becomes `std::fs` and `std::net::IpAddr`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    for branch in branches(tree) {
        if let Some((head, rest)) = branch.split_once('{') {
            let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
            expand(&format!("{prefix}{}", head.trim()), inner, paths);
        } else {
            let name = branch.split(" as ").next().unwrap_or_default().trim();
            let path = format!("{prefix}{name}");
            paths.push(
                path.trim_start_matches("::")
                    .trim_end_matches("::self")
                    .to_owned(),
            );
        }
    }
}

/// Splits at the commas that are inside no braces.
fn branches(tree: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    tree.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .filter(|branch| !branch.trim().is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let mut found = Vec::new();
        imports(&source, &mut found);
        found
    }

    #[test]
    fn the_model_may_use_values() {
        let text = "//! Not `std::fs::read`.\nuse core::net::IpAddr;\nuse std::{collections::BTreeMap, time::Duration};\n";
        assert_eq!(findings("osi-agent/src/layer/mod.rs", text), [""; 0]);
    }

    #[test]
    fn the_model_may_not_reach_outside() {
        for text in [
            "use aya::Ebpf;",
            "use std::fs;",
            "use std::{\n    fmt,\n    fs::{self, File},\n};",
            "use std::{collections::{BTreeMap, HashMap}, net::TcpStream};",
            "use std::time::{Duration, Instant};",
            "fn f() { ::std::env::var(\"X\"); }",
            "fn f() -> std::time::SystemTime { todo() }",
        ] {
            assert!(
                !findings("osi-agent/src/verdict/rule.rs", text).is_empty(),
                "{text}"
            );
        }
    }

    #[test]
    fn others_may() {
        assert_eq!(
            findings("osi-agent/src/snapshot/host.rs", "use std::fs;"),
            [""; 0]
        );
        assert_eq!(
            findings(
                "osi-agent/src/layer/mod.rs",
                "use crate::aya;\nuse ayahuasca::Tea;"
            ),
            [""; 0]
        );
    }
}
