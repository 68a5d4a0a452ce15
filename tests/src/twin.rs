//! Empty twins: programs that return at once, on the hooks that the agent uses, so that what a hook costs by itself is known.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use crate::bpf::Runs;
use crate::foreign::{bpf, halves, id_of, load_returning};

/// Command of bpf(2).
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
/// `BPF_PROG_TYPE_RAW_TRACEPOINT`: run by the same function of the kernel as the programs with types.
pub(crate) const RAW_TRACEPOINT: u32 = 17;

/// An empty program on a tracepoint; it goes with this value.
#[derive(Debug)]
pub struct Twin {
    program: OwnedFd,
    _link: OwnedFd,
}

impl Twin {
    /// On the tracepoint of this name.
    pub fn on(tracepoint: &str) -> Result<Self> {
        let program = load_returning(0, RAW_TRACEPOINT, 0)?;
        let link = attach(&program, tracepoint)?;
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
