//! Occurrences that the kernel shows to its own trace and to no tracing program.
//!
//! Some kernels run no tracing program while process 1 is current, and count no miss. What softirqs do while they interrupt
//! process 1 is part of it: a timer's segments that are sent again, packets that are dropped on their way in. An agent can not
//! see them, so that a scenario that offered them has to be repeated. On most kernels nothing is hidden.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::foreign::{bpf, call, halves, load};
use crate::netns::{PREFIX, is_left_behind};
use crate::processes;
use crate::twin::{self, RAW_TRACEPOINT};

/// Commands of bpf(2), `enum bpf_cmd`.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;

/// The tracepoints on which most scenarios rest: the trace's event, and the name for programs.
const TRACEPOINTS: [(&str, &str); 3] = [
    ("skb/kfree_skb", "kfree_skb"),
    ("tcp/tcp_retransmit_skb", "tcp_retransmit_skb"),
    ("sock/inet_sock_set_state", "inet_sock_set_state"),
];

/// The process that is hidden.
const HIDDEN: u32 = 1;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Counts what happens while process 1 is current, as the trace sees it and as a program does.
#[derive(Debug)]
pub struct Watch {
    _tracefs: OwnedFd,
    instance: PathBuf,
    seen: OwnedFd,
    links: Vec<OwnedFd>,
}

impl Watch {
    /// Begins to count.
    ///
    /// # Errors
    /// Where the kernel has no tracefs, or refuses programs.
    pub fn begin() -> Result<Self> {
        let tracefs = tracefs()?;
        let seen = bpf(MAP_CREATE, &[ARRAY, 4, 8, 1])?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let instance = instances(&tracefs).join(name);
        fs::create_dir(&instance).with_context(|| format!("cannot make {}", instance.display()))?;
        // From here on its end removes the instance.
        let mut watch = Self {
            _tracefs: tracefs,
            instance,
            seen,
            links: Vec::new(),
        };
        watch.start()?;
        Ok(watch)
    }

    fn start(&mut self) -> Result<()> {
        let threads: Vec<_> = processes::threads(HIDDEN)?
            .iter()
            .filter_map(|thread| Some(thread.file_name()?.to_string_lossy().into_owned()))
            .collect();
        fs::write(self.instance.join("set_event_pid"), threads.join(" "))?;
        let program = load(&self.code(), RAW_TRACEPOINT)?;
        for (event, name) in TRACEPOINTS {
            self.links.push(twin::attach(&program, name)?);
            fs::write(self.instance.join("events").join(event).join("enable"), "1")?;
        }
        Ok(())
    }

    /// How many the trace saw and the program did not.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn hidden(&self) -> Result<u64> {
        Ok(self.traced()?.saturating_sub(self.seen()?))
    }

    /// Records of all CPUs, those that were overwritten included.
    fn traced(&self) -> Result<u64> {
        let mut total = 0;
        for cpu in fs::read_dir(self.instance.join("per_cpu"))? {
            let stats = fs::read_to_string(cpu?.path().join("stats"))?;
            total += stats
                .lines()
                .filter_map(|line| {
                    line.strip_prefix("entries: ")
                        .or_else(|| line.strip_prefix("overrun: "))
                })
                .filter_map(|count| count.trim().parse::<u64>().ok())
                .sum::<u64>();
        }
        Ok(total)
    }

    fn seen(&self) -> Result<u64> {
        let (key, mut value) = (0_u32, 0_u64);
        let [key_low, key_high] = halves((&raw const key) as u64);
        let [value_low, value_high] = halves((&raw mut value) as u64);
        let map = self.seen.as_raw_fd() as u32;
        let mut words = [map, 0, key_low, key_high, value_low, value_high, 0, 0];
        call(MAP_LOOKUP_ELEM, &mut words).context("the lab's own count can not be read")?;
        Ok(value)
    }

    /// Adds one to the map's only value where the current process is the first: opcode in the lowest byte, then the registers,
    /// the jump's offset, and the immediate in the upper half.
    fn code(&self) -> Vec<u64> {
        let map = u64::from(self.seen.as_raw_fd() as u32);
        let hidden = u64::from(HIDDEN);
        vec![
            // r0 = bpf_get_current_pid_tgid() >> 32; if r0 != HIDDEN go to the end
            14 << 32 | 0x85,
            32 << 32 | 0x77,
            hidden << 32 | 9 << 16 | 0x55,
            // *(u32 *)(r10 - 4) = 0; r2 = r10 - 4
            (0xfffc << 16) | (10 << 8) | 0x62,
            (10 << 12) | (2 << 8) | 0xbf,
            0xffff_fffc << 32 | (2 << 8) | 0x07,
            // r1 = map; r0 = bpf_map_lookup_elem(r1, r2); if r0 == 0 go to the end
            map << 32 | (1 << 12) | (1 << 8) | 0x18,
            0,
            1 << 32 | 0x85,
            2 << 16 | 0x15,
            // r1 = 1; lock *(u64 *)r0 += r1
            1 << 32 | (1 << 8) | 0xb7,
            (1 << 12) | 0xdb,
            // return 0
            0xb7,
            0x95,
        ]
    }
}

/// Removes the instances of test processes that are no longer alive.
///
/// # Errors
/// When one of them stays.
pub fn sweep() -> Result<()> {
    // Where there is no tracefs, nobody left anything in it.
    let Ok(tracefs) = tracefs() else {
        return Ok(());
    };
    for entry in fs::read_dir(instances(&tracefs))? {
        let entry = entry?;
        if is_left_behind(&entry.file_name().to_string_lossy()) {
            fs::remove_dir(entry.path())?;
        }
    }
    Ok(())
}

/// A tracefs that is mounted nowhere; it goes with the descriptor.
fn tracefs() -> Result<OwnedFd> {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(fsmount(&context, flags, MountAttrFlags::empty())?)
}

fn instances(tracefs: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/instances", tracefs.as_raw_fd()))
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The kernel takes an instance away with rmdir, files and all.
        if let Err(error) = fs::remove_dir(&self.instance) {
            eprintln!("a tracing instance of the lab stays: {error}");
        }
    }
}
