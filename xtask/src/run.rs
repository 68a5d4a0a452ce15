//! `cargo xtask run …`: set up, build, and become the agent, as root.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::host::Root;
use crate::setup::{self, Purpose};
use crate::{build, sh};

/// Build osi-agent and run it as root with the arguments that follow, e.g. `cargo xtask run watch`.
///
/// Runs it directly when you are root, through sudo otherwise.
/// Signals and the exit code are the agent's own.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The agent's own arguments; `cargo xtask run -- --help` shows what it takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    agent: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(Purpose::Build)?;
    let agent = build::agent()?;
    // Not `sh::command`: relative paths among the arguments are the caller's.
    let mut command = match Root::find() {
        Root::Already => Command::new(&agent),
        Root::Sudo | Root::SudoAsks => {
            eprintln!("osi-agent loads eBPF programs, which takes root: starting it through sudo");
            let mut sudo = Command::new("sudo");
            sudo.arg(&agent);
            sudo
        }
        Root::None => bail!(
            "osi-agent loads eBPF programs, which takes root, and there is no sudo here; run as root: {}",
            sh::line(Command::new(&agent).args(&args.agent)).replacen(
                "osi-agent",
                &agent.display().to_string(),
                1
            )
        ),
    };
    command.args(&args.agent);
    // Replaces this process, so that Ctrl-C and the exit code pass straight through.
    Err(command.exec()).with_context(|| format!("cannot start `{}`", sh::line(&command)))
}
