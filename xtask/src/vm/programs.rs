//! What is built for the guests: static programs, so that nothing of this machine has to go along.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::setup::needs::MUSL;
use crate::sh;

/// The built programs.
pub(super) struct Programs {
    pub(super) agent: PathBuf,
    pub(super) scenarios: PathBuf,
    /// Programs that the scenarios start by the path at which they were built.
    pub(super) helpers: Vec<PathBuf>,
}

impl Programs {
    /// Builds them.
    pub(super) fn build() -> Result<Self> {
        let package = |verb: &[&str], package: &str| {
            let mut cargo = sh::cargo();
            cargo.args(verb);
            cargo.args(["--release", "--target", MUSL, "--package", package]);
            cargo
        };
        sh::run(&mut package(&["build"], "osi-agent"))?;
        sh::run(&mut package(&["test", "--no-run"], "osi-tests"))?;
        let mut messages = package(&["test", "--no-run", "--message-format=json"], "osi-tests");
        let messages = sh::output(&mut messages)?;
        let built: Vec<serde_json::Value> = messages
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let executables = |kind: &str| -> Vec<(String, PathBuf)> {
            let of_kind = built.iter().filter(|message| {
                message["target"]["kind"]
                    .as_array()
                    .is_some_and(|kinds| kinds.iter().any(|one| one == kind))
            });
            of_kind
                .filter_map(|message| {
                    let name = message["target"]["name"].as_str()?.to_owned();
                    Some((name, PathBuf::from(message["executable"].as_str()?)))
                })
                .collect()
        };
        Ok(Self {
            agent: sh::target_dir().join(MUSL).join("release/osi-agent"),
            scenarios: executables("test")
                .into_iter()
                .find_map(|(name, path)| (name == "scenarios").then_some(path))
                .context("cargo built no scenarios")?,
            helpers: executables("bin")
                .into_iter()
                .map(|(_, path)| path)
                .collect(),
        })
    }

    /// The scenarios that these words choose: the program runs here as well.
    pub(super) fn list(&self, chosen: &[&str]) -> Result<Vec<String>> {
        let mut command = sh::command(&self.scenarios.display().to_string());
        command.args(["--list", "--format", "terse"]).args(chosen);
        Ok(sh::output(&mut command)?
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect())
    }
}
