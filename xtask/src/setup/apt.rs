//! Debian and Ubuntu packages, as root or through sudo.

use std::io::{self, IsTerminal as _};
use std::process::Command;

use anyhow::{Result, bail};

use crate::host::Root;
use crate::sh;

const OPTIONS: &[&str] = &[
    "--yes",
    "--no-install-recommends",
    // Another package run on a fresh machine (unattended upgrades) ends before long: wait for it.
    "--option=DPkg::Lock::Timeout=120",
];

/// Installs the packages that this machine's sources offer, and names those they do not.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    if sh::which("apt-get").is_none() {
        bail!(
            "no apt-get here; install what provides: {}",
            packages.join(" ")
        );
    }
    let root = Root::find();
    let may = match root {
        Root::Already | Root::Sudo => true,
        Root::SudoAsks => io::stdin().is_terminal(),
        Root::None => false,
    };
    if !may {
        bail!(
            "installing packages takes root; run as root: apt-get update && apt-get install {} {}",
            OPTIONS[..2].join(" "),
            packages.join(" ")
        );
    }
    sh::run(apt_get(root).arg("update"))?;
    let (offered, absent): (Vec<&str>, Vec<&str>) =
        packages.iter().partition(|package| is_offered(package));
    if !offered.is_empty() {
        sh::run(apt_get(root).arg("install").args(OPTIONS).args(offered))?;
    }
    if !absent.is_empty() {
        bail!(
            "this machine's package sources do not offer {}",
            absent.join(", ")
        );
    }
    Ok(())
}

fn apt_get(root: Root) -> Command {
    // `env` after sudo, because sudo drops the caller's environment.
    let words = [
        root.prefix(),
        &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"],
    ]
    .concat();
    let mut command = sh::command(words[0]);
    command.args(&words[1..]);
    command
}

fn is_offered(package: &str) -> bool {
    sh::succeeds(sh::command("apt-cache").args(["show", package]))
}
