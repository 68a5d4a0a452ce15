//! `cargo xtask setup`: install what this machine lacks; do nothing when all is there.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use self::needs::{Install, NEEDS, Need};
use crate::sh;

mod apt;
mod bpf_linker;
pub(crate) mod needs;

/// Install what is missing on a Debian or Ubuntu machine that has rustup.
///
/// Building needs no root: a toolchain component from rustup and the eBPF linker from cargo.
/// Testing needs a few packages from apt, installed as root or through sudo.
/// Without root it prints the exact command to run. When all is there it does nothing.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the machine has to be able to do
    #[arg(long = "for", value_name = "PURPOSE", value_enum, default_value_t = Purpose::Test)]
    purpose: Purpose,
    /// Only show every need, why it is there and whether it is met
    #[arg(long)]
    list: bool,
}

/// What a need serves; testing includes building, and other kernels include testing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Purpose {
    /// Build and run the agent
    Build,
    /// Run every test too
    Test,
    /// Boot other kernels and run the scenarios on them too
    Vm,
    /// Do so on the other architecture too
    Foreign,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        list(args.purpose);
    } else {
        ensure(args.purpose)?;
        println!("setup: everything is there");
    }
    Ok(ExitCode::SUCCESS)
}

/// Installs what `purpose` lacks.
///
/// Fails when something that building or booting needs cannot be had. A missing test program only costs
/// the tests that use it, and they report themselves as skipped.
pub(crate) fn ensure(purpose: Purpose) -> Result<()> {
    let missing = missing(purpose);
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        eprintln!("setup: missing {}: {}", need.name, need.why);
    }
    // Cheap and rootless first; each failure is reported, and the verdict comes from what is there afterwards.
    let mut problems = Vec::new();
    for need in &missing {
        let outcome = match need.install {
            Install::Component(component) => {
                sh::run(sh::command("rustup").args(["component", "add", component]))
                    .context("the toolchain must come from rustup: https://rustup.rs")
            }
            Install::Target(target) => {
                sh::run(sh::command("rustup").args(["target", "add", target]))
                    .context("the toolchain must come from rustup: https://rustup.rs")
            }
            Install::BpfLinker => bpf_linker::install(),
            Install::Package(_) => continue,
        };
        problems.extend(outcome.err().map(|error| format!("{error:#}")));
    }
    let packages: Vec<_> = missing.iter().filter_map(|need| need.package()).collect();
    if !packages.is_empty() {
        problems.extend(
            apt::install(&packages)
                .err()
                .map(|error| format!("{error:#}")),
        );
    }
    verdict(purpose, &problems)
}

fn missing(purpose: Purpose) -> Vec<&'static Need> {
    NEEDS
        .iter()
        .filter(|need| need.purpose <= purpose && !need.is_met())
        .collect()
}

fn verdict(purpose: Purpose, problems: &[String]) -> Result<()> {
    let still = missing(purpose);
    for problem in problems {
        eprintln!("setup: {problem}");
    }
    let blocking: Vec<_> = still
        .iter()
        // A missing test program only costs the tests that use it.
        .filter(|need| need.purpose != Purpose::Test)
        .map(|need| need.name)
        .collect();
    if !blocking.is_empty() {
        let aim = match purpose {
            Purpose::Build | Purpose::Test => "build",
            Purpose::Vm | Purpose::Foreign => "boot other kernels",
        };
        bail!("cannot {aim} without {}", blocking.join(", "));
    }
    for need in still {
        eprintln!(
            "setup: going on without {}; tests that need it will be skipped",
            need.name
        );
    }
    Ok(())
}

fn list(purpose: Purpose) {
    for need in NEEDS.iter().filter(|need| need.purpose <= purpose) {
        let state = if need.is_met() { "present" } else { "missing" };
        println!("{state}  {:<12} {}", need.name, need.why);
    }
}
