//! Empty twins: programs that return at once, on the hooks that the agent uses, so that what a hook costs by itself is known.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bpf::Runs;
use crate::command;
use crate::foreign::{Kind, bpf, halves, id_of, load_returning};

/// Command of bpf(2).
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
/// `BPF_PROG_TYPE_RAW_TRACEPOINT`: run by the same function of the kernel as the programs with types.
pub(crate) const RAW_TRACEPOINT: Kind = Kind {
    program_type: 17,
    attach_type: 0,
    function: 0,
};
/// `BPF_PROG_TYPE_TRACING` for `BPF_TRACE_FENTRY`.
const FENTRY: Kind = Kind {
    program_type: 26,
    attach_type: 24,
    function: 0,
};
/// The same for `BPF_TRACE_FEXIT`.
const FEXIT: Kind = Kind {
    attach_type: 25,
    ..FENTRY
};

/// An empty program on a tracepoint, or at a function's entry or exit; it goes with this value.
#[derive(Debug)]
pub struct Twin {
    program: OwnedFd,
    _link: OwnedFd,
}

impl Twin {
    /// On the tracepoint of this name.
    pub fn on(tracepoint: &str) -> Result<Self> {
        let program = load_returning(0, RAW_TRACEPOINT)?;
        let link = attach(&program, tracepoint)?;
        Ok(Self {
            program,
            _link: link,
        })
    }

    /// At the entry of the kernel's function of this name.
    pub fn at_entry_of(function: &str) -> Result<Self> {
        Self::at(function, FENTRY)
    }

    /// At its exit.
    pub fn at_exit_of(function: &str) -> Result<Self> {
        Self::at(function, FEXIT)
    }

    fn at(function: &str, kind: Kind) -> Result<Self> {
        let kind = Kind {
            function: number(function)?,
            ..kind
        };
        let program = load_returning(0, kind)?;
        // No name: the kernel knows the function since the program was loaded.
        let link = bpf(RAW_TRACEPOINT_OPEN, &[0, 0, program.as_raw_fd() as u32, 0])
            .with_context(|| format!("cannot attach to {function}"))?;
        Ok(Self {
            program,
            _link: link,
        })
    }

    /// What the kernel counted of it.
    pub fn runs(&self) -> Result<Runs> {
        Runs::of(id_of(&self.program)?)
    }
}

/// Runs a program on the tracepoint of this name for as long as the link is held.
pub(crate) fn attach(program: &OwnedFd, tracepoint: &str) -> Result<OwnedFd> {
    let name = CString::new(tracepoint)?;
    let [low, high] = halves(name.as_ptr() as u64);
    // `raw_tracepoint` of `union bpf_attr`: name, program.
    let words = [low, high, program.as_raw_fd() as u32, 0];
    bpf(RAW_TRACEPOINT_OPEN, &words)
        .with_context(|| format!("cannot attach to the tracepoint {tracepoint}"))
}

/// A function's number in the kernel's types.
fn number(function: &str) -> Result<u32> {
    let types = ["btf", "dump", "file", "/sys/kernel/btf/vmlinux"];
    let text = command::output(Command::new("bpftool").args(types))?;
    let named = format!("FUNC '{function}' ");
    let line = text.lines().find(|line| line.contains(&named));
    line.and_then(|line| line.strip_prefix('[')?.split(']').next()?.parse().ok())
        .with_context(|| format!("the kernel's types have no function {function}"))
}
