//! `cargo xtask <verb>`: every project command, one file per verb.
//!
//! The verbs that need something installed do set-up by themselves, so that a fresh clone needs
//! no other command than the one that is wanted.
#![expect(
    clippy::print_stdout,
    reason = "a command-line tool reports on standard output"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod architecture;
mod build;
mod check;
mod dist;
mod docs;
mod host;
mod run;
mod setup;
mod sh;
mod test;
mod vm;

/// Every project command. Each verb installs what it needs first, and does nothing when all is there.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Setup(setup::Args),
    Build(build::Args),
    Run(run::Args),
    Test(test::Args),
    Check(check::Args),
    Docs(docs::Args),
    Dist(dist::Args),
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Build(args) => build::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Docs(args) => docs::run(&args),
        Verb::Dist(args) => dist::run(&args),
        Verb::Vm(args) => vm::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
