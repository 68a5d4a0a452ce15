//! What is built for the guests: static programs, so that nothing of this machine has to go along.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::architecture::Architecture;
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
    pub(super) fn build(architecture: &Architecture) -> Result<Self> {
        let agent = architecture.build_agent()?;
        let mut tests = architecture.cargo(&["test", "--no-run"]);
        tests.args(["--package", "osi-tests"]);
        tests.arg("--message-format=json-render-diagnostics");
        let built: Vec<serde_json::Value> = sh::run_for_output(&mut tests)?
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
            agent,
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
}
