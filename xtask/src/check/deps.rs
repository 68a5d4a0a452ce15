//! The dependency policy (docs/adr/0002): from a registry, one version, an allowed licence.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, bail};

use super::licence;
use crate::sh;

pub(super) fn check() -> Result<()> {
    let read = |path: &str| {
        fs::read_to_string(sh::root().join(path)).with_context(|| format!("cannot read {path}"))
    };
    let manifest = read("Cargo.toml")?;
    let locked = packages(&read("Cargo.lock")?);
    let mut found = foreign_sources(&locked);
    found.extend(several_versions(&locked, &direct(&manifest)));
    for member in members(&manifest) {
        let path = format!("{member}/Cargo.toml");
        found.extend(outside_the_table(&path, &read(&path)?));
    }
    found.extend(licence::violations()?);
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    Ok(())
}

/// One package of the lock file.
#[derive(Default)]
struct Locked {
    name: String,
    version: String,
    /// Absent for the project's own crates.
    source: Option<String>,
}

fn packages(lock: &str) -> Vec<Locked> {
    lock.split("[[package]]")
        .skip(1)
        .map(|block| {
            let field = |name: &str| {
                block.lines().find_map(|line| {
                    let value = line.strip_prefix(name)?.strip_prefix(" = ")?;
                    Some(value.trim_matches('"').to_owned())
                })
            };
            Locked {
                name: field("name").unwrap_or_default(),
                version: field("version").unwrap_or_default(),
                source: field("source"),
            }
        })
        .collect()
}

fn foreign_sources(locked: &[Locked]) -> Vec<String> {
    locked
        .iter()
        .filter_map(|package| {
            let source = package.source.as_ref()?;
            (!source.starts_with("registry+")).then(|| {
                format!(
                    "Cargo.lock: {} comes from {source}; use a published version",
                    package.name
                )
            })
        })
        .collect()
}

fn several_versions(locked: &[Locked], direct: &[&str]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in locked {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    direct
        .iter()
        .filter_map(|name| {
            let versions = versions.get(name)?;
            (versions.len() > 1).then(|| {
                format!(
                    "Cargo.lock: {name} is there as {}; move our requirement or its other user's",
                    versions.join(" and ")
                )
            })
        })
        .collect()
}

/// The names in the workspace's table of dependencies.
fn direct(manifest: &str) -> Vec<&str> {
    section(manifest, "[workspace.dependencies]")
        .filter_map(|(_, line)| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect()
}

fn members(manifest: &str) -> Vec<&str> {
    section(manifest, "[workspace]")
        .find_map(|(_, line)| line.strip_prefix("members = ["))
        .map(|list| {
            list.trim_end_matches(']')
                .split(',')
                .map(|name| name.trim().trim_matches('"'))
                .collect()
        })
        .unwrap_or_default()
}

/// Dependencies of a member that do not refer to the workspace's table.
fn outside_the_table(path: &str, manifest: &str) -> Vec<String> {
    [
        "[dependencies]",
        "[dev-dependencies]",
        "[build-dependencies]",
    ]
    .into_iter()
    .flat_map(|header| section(manifest, header))
    .filter(|(_, line)| !line.contains(".workspace = true") && !line.contains("workspace = true,"))
    .map(|(number, line)| {
        format!("{path}:{number}: `{line}`: state it in the workspace's table and refer to it")
    })
    .collect()
}

/// The numbered lines below a header, without blank lines and comments.
fn section<'a>(manifest: &'a str, header: &str) -> impl Iterator<Item = (usize, &'a str)> {
    (1..)
        .zip(manifest.lines())
        .skip_while(move |(_, line)| *line != header)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"clap\"\nversion = \"4.6.1\"\nsource = \"registry+index\"\n\n\
        [[package]]\nname = \"clap\"\nversion = \"3.0.0\"\nsource = \"git+https://host/clap#1\"\n\n\
        [[package]]\nname = \"osi-agent\"\nversion = \"0.1.0\"\n";

    #[test]
    fn only_registries_are_sources() {
        let found = foreign_sources(&packages(LOCK));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("git+"), "{found:?}");
    }

    #[test]
    fn a_direct_dependency_has_one_version() {
        let locked = packages(LOCK);
        assert_eq!(several_versions(&locked, &["clap", "osi-agent"]).len(), 1);
        assert_eq!(several_versions(&locked, &["osi-agent"]).len(), 0);
    }

    #[test]
    fn members_refer_to_the_table() {
        let text = "[package]\nname = \"a\"\n\n[dependencies]\nanyhow.workspace = true\n\
            b = { workspace = true, optional = true }\n# why\nc = \"1\"\n\n[lints]\nworkspace = true\n";
        let found = outside_the_table("a/Cargo.toml", text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("a/Cargo.toml:8: `c = "), "{found:?}");
    }

    #[test]
    fn reads_the_workspace_manifest() {
        let text = "[workspace]\nmembers = [\"a\", \"b\"]\n\n[workspace.dependencies]\nc = \"1\"\n# d\ne = { version = \"2\" }\n\n[profile.release]\nlto = \"thin\"\n";
        assert_eq!(members(text), ["a", "b"]);
        assert_eq!(direct(text), ["c", "e"]);
    }
}
