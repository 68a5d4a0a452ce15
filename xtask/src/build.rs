//! `cargo xtask build`: the release agent, with its eBPF programs inside.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::setup::{self, Purpose};
use crate::sh;

/// Build target/release/osi-agent.
///
/// The file needs nothing but the kernel at run time: the eBPF programs are inside it.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    setup::ensure(Purpose::Build)?;
    let agent = agent()?;
    println!("{}", agent.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the release agent; the caller has done set-up.
pub(crate) fn agent() -> Result<PathBuf> {
    sh::run(sh::cargo().args(["build", "--release", "--package", "osi-agent"]))?;
    Ok(sh::target_dir().join("release/osi-agent"))
}
