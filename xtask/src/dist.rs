//! `cargo xtask dist`: the agent as one file that runs on any distribution.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::architecture::ARCHITECTURES;
use crate::setup::{self, Purpose};
use crate::sh;

/// Build the agent as static programs for x86_64 and aarch64: target/dist/osi-agent-ARCHITECTURE.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    setup::ensure(Purpose::Build)?;
    let folder = sh::target_dir().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for architecture in ARCHITECTURES {
        sh::run(sh::command("rustup").args(["target", "add", architecture.target]))
            .context("the toolchain must come from rustup: https://rustup.rs")?;
        let built = architecture.build_agent()?;
        let dist = folder.join(format!("osi-agent-{}", architecture.name));
        let bytes = fs::copy(&built, &dist)
            .with_context(|| format!("cannot copy {} to {}", built.display(), dist.display()))?;
        println!("{} {bytes} bytes", dist.display());
    }
    Ok(ExitCode::SUCCESS)
}
