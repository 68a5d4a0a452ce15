//! Arguments in, exit code out.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use osi_agent::config::{Cli, Command, Exit, Failure, Settings};
use osi_agent::helper;
use osi_agent::output::glyphs::Glyphs;
use osi_agent::output::{explain, json, stdout};
use osi_agent::probe::own;
use osi_agent::run;

fn main() -> ExitCode {
    own::return_large_memory();
    let done = match Cli::try_parse() {
        Ok(cli) => obey(cli.command).map(ExitCode::from),
        Err(help) => say(&help),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let exit = Failure::exit_of(&error);
            if exit != Exit::OutputClosed {
                eprintln!("osi-agent: {error:#}");
            }
            exit.into()
        }
    }
}

/// Help that was asked for, or what is wrong with the arguments.
fn say(help: &clap::Error) -> anyhow::Result<ExitCode> {
    help.print()
        .and_then(|()| io::stdout().flush())
        .map_err(|error| stdout::failure(&error))?;
    Ok(u8::try_from(help.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn obey(command: Command) -> anyhow::Result<Exit> {
    let text = match command {
        Command::Watch(args) => return run::watch(Settings::resolve(&args)?),
        Command::Helper => return helper::serve(),
        Command::Doctor(args) => return run::doctor(&args),
        Command::Explain { name } => {
            explain::explain(&name, Glyphs::of_environment())?.into_bytes()
        }
        Command::Schema => json::schema().into_bytes(),
        Command::Completions { shell } => Cli::completions(shell),
        Command::Man => Cli::man(),
    };
    stdout::print(&text)?;
    Ok(Exit::Done)
}
