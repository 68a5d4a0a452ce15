//! A loaded program, run by the kernel on frames of ours (`BPF_PROG_TEST_RUN`).

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};

use crate::bpf::Objects;
use crate::foreign::{bpf, call, halves};

/// Commands of bpf(2), `enum bpf_cmd`.
const PROG_TEST_RUN: libc::c_int = 10;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
/// `struct bpf_prog_info` up to the name, and where the name stands.
const INFO: usize = 80;
const NAME: usize = 64;

/// A program that some process has loaded.
#[derive(Debug)]
pub struct Program {
    descriptor: OwnedFd,
}

/// What a run said.
#[derive(Debug)]
pub struct Ran {
    /// What the program returned.
    pub verdict: i32,
    /// Bytes of the packet after it.
    pub length: usize,
}

impl Program {
    /// The program of this name that a process holds. The kernel keeps 15 bytes of a name.
    pub fn held_by(pid: u32, name: &str) -> Result<Self> {
        let mut others = Vec::new();
        for id in Objects::held_by(pid)?.programs {
            let descriptor = bpf(PROG_GET_FD_BY_ID, &[u32::try_from(id)?, 0, 0])?;
            let found = name_of(&descriptor)?;
            if found == name {
                return Ok(Self { descriptor });
            }
            others.push(found);
        }
        bail!("process {pid} holds no program {name}, but {others:?}")
    }

    /// Runs it on a frame that arrives at the loopback interface of the calling thread's namespace; `after` gets the bytes
    /// that it leaves.
    pub fn run(&self, frame: &[u8], after: &mut [u8]) -> Result<Ran> {
        let [frame_low, frame_high] = halves(frame.as_ptr() as u64);
        let [after_low, after_high] = halves(after.as_mut_ptr() as u64);
        // `test` of `union bpf_attr`: program, verdict, sizes, buffers, repeat, duration, contexts, flags, cpu, batch.
        let mut words = [0_u32; 20];
        words[0] = self.descriptor.as_raw_fd() as u32;
        words[2] = u32::try_from(frame.len())?;
        words[3] = u32::try_from(after.len())?;
        words[4..8].copy_from_slice(&[frame_low, frame_high, after_low, after_high]);
        call(PROG_TEST_RUN, &mut words)
            .with_context(|| format!("a program cannot be run on {} bytes", frame.len()))?;
        Ok(Ran {
            verdict: words[1] as i32,
            length: words[3] as usize,
        })
    }
}

fn name_of(program: &OwnedFd) -> Result<String> {
    let mut info = [0_u8; INFO];
    let [low, high] = halves(info.as_mut_ptr() as u64);
    call(
        OBJ_GET_INFO_BY_FD,
        &mut [program.as_raw_fd() as u32, INFO as u32, low, high],
    )?;
    let name = info[NAME..].split(|byte| *byte == 0).next();
    Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
}
