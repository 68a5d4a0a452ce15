//! `cargo xtask check`: everything that must hold besides the tests.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::setup::{self, Purpose};
use crate::{docs, sh};

mod deps;
mod licence;
mod pure;
mod source;
mod tidy;

/// Check format, lints (host and eBPF target), dependencies, house rules and generated documents.
///
/// Every step runs even when an earlier one fails, so that one run shows everything.
#[derive(clap::Args)]
pub(crate) struct Args {}

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// Quick steps first.
const STEPS: &[Step] = &[
    Step {
        name: "format",
        run: || sh::run(sh::cargo().args(["fmt", "--all", "--check"])),
    },
    Step {
        name: "house rules",
        run: tidy::check,
    },
    Step {
        name: "dependencies",
        run: deps::check,
    },
    Step {
        name: "lints",
        run: || {
            sh::run(
                sh::cargo()
                    .args(["clippy", "--workspace", "--exclude", "osi-ebpf"])
                    .args(["--all-targets", "--", "--deny", "warnings"]),
            )
        },
    },
    Step {
        name: "lints for the eBPF target",
        run: lint_ebpf,
    },
    Step {
        name: "generated documents",
        run: docs::check_fresh,
    },
];

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    setup::ensure(Purpose::Build)?;
    let mut failed = Vec::new();
    for step in STEPS {
        let start = Instant::now();
        let outcome = (step.run)();
        let seconds = start.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => println!("check: {}: ok ({seconds:.1} s)", step.name),
            Err(error) => {
                println!("check: {}: FAILED ({seconds:.1} s)\n{error:#}", step.name);
                failed.push(step.name);
            }
        }
    }
    if failed.is_empty() {
        println!("check: all {} steps ok", STEPS.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("check: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// The kernel side is linted for its own target, as osi-agent's build script compiles it.
fn lint_ebpf() -> Result<()> {
    let arch = std::env::consts::ARCH;
    sh::run(
        sh::cargo()
            .args(["clippy", "--package", "osi-ebpf", "--bins", "--release"])
            .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
            .args(["--", "--deny", "warnings"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                format!("--cfg=bpf_target_arch=\"{arch}\""),
            )
            // Build scripts look at RUSTC_BOOTSTRAP: in the common directory each run would
            // make the next ordinary build compile half of the dependencies again.
            .env("CARGO_TARGET_DIR", sh::target_dir().join("clippy-ebpf")),
    )
}
