//! Who we are on this machine, and by which way a command can run as root.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use crate::sh;

/// The way to root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// We are root.
    Already,
    /// `sudo` works without asking.
    Sudo,
    /// `sudo` is there and would ask for a password.
    SudoAsks,
    /// There is no `sudo`.
    None,
}

impl Root {
    pub(crate) fn find() -> Self {
        if is_root() {
            Self::Already
        } else if sh::which("sudo").is_none() {
            Self::None
        } else if sh::succeeds(Command::new("sudo").args(["-n", "true"])) {
            Self::Sudo
        } else {
            Self::SudoAsks
        }
    }

    /// What to put before a command so that it runs as root; nothing for root itself.
    pub(crate) fn prefix(self) -> &'static [&'static str] {
        match self {
            Self::Already | Self::None => &[],
            Self::Sudo => &["sudo", "-n"],
            Self::SudoAsks => &["sudo"],
        }
    }
}

fn is_root() -> bool {
    // A process's own directory in /proc belongs to its effective user.
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
