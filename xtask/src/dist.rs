//! `cargo xtask dist`: the agent as one file that runs on any distribution.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::setup::needs::MUSL;
use crate::setup::{self, Purpose};
use crate::sh;

/// Targets whose programs are static, by the name that `uname -m` has for their architecture.
const TARGETS: &[(&str, &str)] = &[("x86_64", MUSL), ("aarch64", "aarch64-unknown-linux-musl")];

/// Build the agent as static programs for x86_64 and aarch64: target/dist/osi-agent-ARCHITECTURE.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    setup::ensure(Purpose::Build)?;
    let folder = sh::target_dir().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (architecture, target) in TARGETS {
        sh::run(sh::command("rustup").args(["target", "add", target]))
            .context("the toolchain must come from rustup: https://rustup.rs")?;
        let mut cargo = sh::cargo();
        cargo.args([
            "build",
            "--release",
            "--package",
            "osi-agent",
            "--target",
            target,
        ]);
        // The toolchain's own linker knows every architecture; the machine's may know only its own.
        cargo.env(linker_variable(target), "rust-lld");
        sh::run(&mut cargo)?;
        let built = sh::target_dir().join(target).join("release/osi-agent");
        let dist = folder.join(format!("osi-agent-{architecture}"));
        let bytes = fs::copy(&built, &dist)
            .with_context(|| format!("cannot copy {} to {}", built.display(), dist.display()))?;
        println!("{} {bytes} bytes", dist.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The variable by which cargo is told a target's linker.
fn linker_variable(target: &str) -> String {
    let target = target.to_uppercase().replace('-', "_");
    format!("CARGO_TARGET_{target}_LINKER")
}
