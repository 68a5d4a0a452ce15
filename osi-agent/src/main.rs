//! Arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;

use osi_agent::config::{Cli, Command, Exit, Failure, Settings};
use osi_agent::output::glyphs::Glyphs;
use osi_agent::output::{explain, json, stdout};
use osi_agent::run;

fn main() -> ExitCode {
    match obey(Cli::parse().command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = Failure::exit_of(&error);
            if exit != Exit::OutputClosed {
                eprintln!("osi-agent: {error:#}");
            }
            exit.into()
        }
    }
}

fn obey(command: Command) -> anyhow::Result<Exit> {
    let text = match command {
        Command::Watch(args) => return run::watch(Settings::resolve(&args)?),
        Command::Doctor(args) => return run::doctor(&args),
        Command::Explain { name } => {
            let glyphs = Glyphs::of_locale(|variable| std::env::var(variable).ok());
            explain::explain(&name, glyphs)?.into_bytes()
        }
        Command::Schema => json::schema().into_bytes(),
        Command::Completions { shell } => Cli::completions(shell),
        Command::Man => Cli::man(),
    };
    stdout::print(&text)?;
    Ok(Exit::Done)
}
