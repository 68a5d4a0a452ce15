//! The table of architectures that the agent is built for.

use std::env::consts;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Error, Result, bail};

use crate::sh;

/// One row.
#[derive(Debug)]
pub(crate) struct Architecture {
    /// As `uname -m` names it.
    pub(crate) name: &'static str,
    /// As Debian names it.
    pub(crate) debian: &'static str,
    /// The compiler's target for static programs.
    pub(crate) target: &'static str,
    /// The machine that is emulated.
    pub(crate) machine: Machine,
}

/// What QEMU is told.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) program: &'static str,
    pub(crate) board: &'static [&'static str],
    /// The processor with all that the emulator knows but what makes kernels choose code that is slow to emulate.
    pub(crate) processor: &'static str,
    /// The kernel's name of the first serial line.
    pub(crate) console: &'static str,
}

/// Every architecture.
pub(crate) const ARCHITECTURES: &[Architecture] = &[X86_64, AARCH64];

pub(crate) const X86_64: Architecture = Architecture {
    name: "x86_64",
    debian: "amd64",
    target: "x86_64-unknown-linux-musl",
    machine: Machine {
        program: "qemu-system-x86_64",
        board: &[],
        // Kernels copy and clear byte by byte where that is said to be fast, and walk five levels of page tables where there are.
        processor: "max,erms=off,fsrm=off,la57=off",
        console: "ttyS0",
    },
};

pub(crate) const AARCH64: Architecture = Architecture {
    name: "aarch64",
    debian: "arm64",
    target: "aarch64-unknown-linux-musl",
    machine: Machine {
        program: "qemu-system-aarch64",
        board: &["-machine", "virt"],
        // The architecture's own algorithm for signed pointers is slow to emulate.
        processor: "max,pauth-impdef=on",
        console: "ttyAMA0",
    },
};

impl Architecture {
    /// Whether this machine runs its programs.
    pub(crate) fn is_native(&self) -> bool {
        self.name == consts::ARCH
    }

    /// `cargo VERB`, optimized and for this architecture.
    pub(crate) fn cargo(&self, verb: &[&str]) -> Command {
        let mut cargo = sh::cargo();
        cargo
            .args(verb)
            .args(["--release", "--target", self.target]);
        let target = self.target.to_uppercase().replace('-', "_");
        // The toolchain's own linker knows every architecture; the machine's may know only its own.
        cargo.env(format!("CARGO_TARGET_{target}_LINKER"), "rust-lld");
        cargo
    }

    /// Builds the agent, and tells where it is.
    pub(crate) fn build_agent(&self) -> Result<PathBuf> {
        sh::run(self.cargo(&["build"]).args(["--package", "osi-agent"]))?;
        Ok(sh::target_dir().join(self.target).join("release/osi-agent"))
    }
}

/// An architecture by its name, as the command line takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named(pub(crate) &'static Architecture);

impl FromStr for Named {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = ARCHITECTURES.iter().find(|row| row.name == text);
        let Some(architecture) = found else {
            let names: Vec<_> = ARCHITECTURES.iter().map(|row| row.name).collect();
            bail!("no such architecture; there are {}", names.join(", "));
        };
        Ok(Self(architecture))
    }
}

#[cfg(test)]
mod tests {
    use super::ARCHITECTURES;

    #[test]
    fn this_machine_is_one_of_them() {
        let native = ARCHITECTURES.iter().filter(|row| row.is_native());
        assert_eq!(native.count(), 1);
    }
}
