//! Exit codes, and errors that carry theirs.

use std::fmt;
use std::process::ExitCode;

/// How the program ends. The numbers are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed while running.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Not enough privilege; the message names what is missing and how to grant it.
    Privilege = 3,
    /// This kernel can not run any probe; the message names the missing feature.
    Kernel = 4,
    /// Configuration file wrong; the message names line and key.
    Config = 5,
    /// Another daemon holds this configuration.
    Busy = 6,
    /// `--fail-on` hit.
    FailOn = 10,
    /// Standard output was closed; nothing is said.
    OutputClosed = 141,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error for a person: one clear sentence that says what to do, and the exit code that goes with it.
///
/// It travels inside `anyhow::Error`; [`Failure::exit_of`] finds it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What to tell the person.
    pub message: String,
}

impl Failure {
    /// An error with this exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Configuration file wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Exit::Config, message)
    }

    /// The exit code of any error: its own where a `Failure` is in the chain, else 1.
    pub fn exit_of(error: &anyhow::Error) -> Exit {
        error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Self>())
            .map_or(Exit::Failed, |failure| failure.exit)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::{Exit, Failure};

    #[test]
    fn the_exit_code_survives_context() {
        let error = Err::<(), _>(Failure::new(Exit::Privilege, "CAP_BPF is missing"))
            .context("while attaching");
        assert_eq!(
            Failure::exit_of(&error.expect_err("it failed")),
            Exit::Privilege
        );
        assert_eq!(
            Failure::exit_of(&anyhow::anyhow!("disk full")),
            Exit::Failed
        );
    }
}
