//! Programs of somebody else: the smallest that the kernel accepts, put where the agent wants to be, too.
//!
//! By bpf(2) itself, because the tools of the distributions can not attach to each of these hooks.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::bpf::Runs;
use crate::command;
use crate::netns::Namespace;
use crate::tc;

mod filter;

/// Commands of bpf(2), `enum bpf_cmd`.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_QUERY: libc::c_int = 16;
const LINK_CREATE: libc::c_int = 28;
const ENABLE_STATS: libc::c_int = 32;
/// `BPF_F_ALLOW_OVERRIDE`: the mode of a cgroup program that suffers no other beside it.
const ALLOW_OVERRIDE: u32 = 1;
/// `BPF_F_BEFORE`: first in order.
const BEFORE: u32 = 1 << 3;
/// `XDP_FLAGS_SKB_MODE`: generic.
const SKB_MODE: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`: inside the driver.
const DRV_MODE: u32 = 1 << 2;
/// What every program here is called.
pub const NAME: &str = "lab_program";
/// The preference of a filter: behind the agent's.
const PREFERENCE: &str = "50000";

/// Where a foreign program stands, and what it does with every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Generic XDP: `XDP_PASS`.
    Xdp,
    /// Generic XDP: `XDP_DROP`.
    XdpDrop,
    /// XDP inside the driver: `XDP_DROP`.
    XdpDriverDrop,
    /// TCX ingress, first in order, with `TCX_PASS`: what stands behind it never runs.
    TcxIngress,
    /// TCX ingress, first in order, with `TCX_NEXT`: what stands behind it runs, too.
    TcxIngressNext,
    /// The same on the way out.
    TcxEgressNext,
    /// TCX ingress, last in order: `TCX_DROP`.
    TcxIngressDrop,
    /// A filter of clsact on the way in, whose program says `TC_ACT_SHOT`.
    FilterIngressDrop,
    /// sock_ops of a cgroup, attached so that it may be overridden: nothing can be attached beside it.
    SockOpsOverride,
    /// The same beside others.
    SockOps,
}

impl Hook {
    /// `enum bpf_prog_type`.
    const fn program_type(self) -> u32 {
        match self {
            Self::Xdp | Self::XdpDrop | Self::XdpDriverDrop => 6,
            Self::TcxIngress
            | Self::TcxIngressNext
            | Self::TcxEgressNext
            | Self::TcxIngressDrop
            | Self::FilterIngressDrop => 3,
            Self::SockOpsOverride | Self::SockOps => 13,
        }
    }

    /// `enum bpf_attach_type`.
    const fn attach_type(self) -> u32 {
        match self {
            Self::Xdp | Self::XdpDrop | Self::XdpDriverDrop => 37,
            Self::TcxIngress | Self::TcxIngressNext | Self::TcxIngressDrop => 46,
            Self::TcxEgressNext => 47,
            Self::FilterIngressDrop => 0,
            Self::SockOpsOverride | Self::SockOps => 3,
        }
    }

    const fn verdict(self) -> i32 {
        match self {
            Self::TcxIngressNext | Self::TcxEgressNext => -1,
            Self::TcxIngress => 0,
            Self::XdpDrop | Self::XdpDriverDrop | Self::SockOpsOverride | Self::SockOps => 1,
            Self::Xdp | Self::TcxIngressDrop | Self::FilterIngressDrop => 2,
        }
    }
}

/// An attached program; it goes with this value.
#[derive(Debug)]
pub struct Foreign {
    hook: Hook,
    program: OwnedFd,
    link: Option<OwnedFd>,
    cgroup: Option<File>,
}

impl Foreign {
    /// Attaches to an interface of `host`.
    pub fn on_interface(host: &Namespace, interface: &str, hook: Hook) -> Result<Self> {
        host.run(|| {
            let index = index_of(interface)?;
            let program = load_for(hook)?;
            // `link_create` of `union bpf_attr`: program, target, type, flags, then the member of the type.
            let flags = match hook {
                Hook::Xdp | Hook::XdpDrop => SKB_MODE,
                Hook::XdpDriverDrop => DRV_MODE,
                Hook::TcxIngress | Hook::TcxIngressNext | Hook::TcxEgressNext => BEFORE,
                Hook::TcxIngressDrop => 0,
                Hook::FilterIngressDrop => bail!("a filter is no link"),
                Hook::SockOpsOverride | Hook::SockOps => bail!("sock_ops attaches to a cgroup"),
            };
            let words = [
                program.as_raw_fd() as u32,
                index,
                hook.attach_type(),
                flags,
                0,
                0,
                0,
                0,
            ];
            let link = bpf(LINK_CREATE, &words).context("cannot attach a foreign program")?;
            Ok(Self {
                hook,
                program,
                link: Some(link),
                cgroup: None,
            })
        })
    }

    /// Hangs a filter on clsact, which somebody may have put there already. It goes with the interface.
    pub fn as_filter(host: &Namespace, interface: &str) -> Result<Self> {
        let hook = Hook::FilterIngressDrop;
        let qdiscs = tc::qdiscs(host, interface)?;
        let mut kinds = qdiscs.as_array().into_iter().flatten();
        if !kinds.any(|qdisc| qdisc["kind"] == "clsact") {
            let add = ["-n", host.name(), "qdisc", "add", "dev", interface];
            command::output(Command::new("tc").args(add).arg("clsact"))?;
        }
        host.run(|| {
            let program = load_for(hook)?;
            filter::add(index_of(interface)?, &program, NAME, PREFERENCE.parse()?)?;
            Ok(Self {
                hook,
                program,
                link: None,
                cgroup: None,
            })
        })
    }

    /// Takes it off an interface; the program itself stays, with what was counted.
    pub fn detach(&mut self, host: &Namespace, interface: &str) -> Result<()> {
        drop(self.link.take());
        if self.hook == Hook::FilterIngressDrop {
            let del = ["-n", host.name(), "filter", "del", "dev", interface];
            let which = ["ingress", "pref", PREFERENCE];
            command::output(Command::new("tc").args(del).args(which))?;
        }
        Ok(())
    }

    /// How often it ran, as bpftool tells while [`counting`] is held.
    pub fn runs(&self) -> Result<u64> {
        Ok(Runs::of(self.id()?)?.count)
    }

    /// Attaches to a cgroup.
    pub fn on_cgroup(directory: &Path, hook: Hook) -> Result<Self> {
        let cgroup = File::open(directory)
            .with_context(|| format!("there is no {}", directory.display()))?;
        let program = load_for(hook)?;
        if hook == Hook::SockOps {
            // A link suffers others, and goes with its owner.
            let words = [
                program.as_raw_fd() as u32,
                cgroup.as_raw_fd() as u32,
                hook.attach_type(),
                0,
            ];
            let link = bpf(LINK_CREATE, &words).context("cannot attach a program to a cgroup")?;
            return Ok(Self {
                hook,
                program,
                link: Some(link),
                cgroup: None,
            });
        }
        call(
            PROG_ATTACH,
            &mut cgroup_words(&cgroup, &program, hook, ALLOW_OVERRIDE),
        )
        .context("cannot attach a foreign program to a cgroup")?;
        Ok(Self {
            hook,
            program,
            link: None,
            cgroup: Some(cgroup),
        })
    }

    /// The kernel's number of the program.
    pub fn id(&self) -> Result<u64> {
        id_of(&self.program)
    }
}

/// The kernel's number of a program of this process.
pub(crate) fn id_of(program: &OwnedFd) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    let text = fs::read_to_string(path)?;
    let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
    id.and_then(|id| id.trim().parse().ok())
        .context("the kernel tells no id of a program")
}

/// Makes the kernel count every program's runs for as long as this is held.
pub fn counting() -> Result<OwnedFd> {
    bpf(ENABLE_STATS, &[0]).context("the kernel does not count the runs of programs")
}

/// The ids of the programs on a cgroup's hook.
///
/// bpftool asks for every hook that it knows, and fails where the kernel does not know one of them.
pub fn on(directory: &Path, hook: Hook) -> Result<Vec<u64>> {
    let cgroup =
        File::open(directory).with_context(|| format!("there is no {}", directory.display()))?;
    let mut ids = [0_u32; 64];
    let [low, high] = halves(ids.as_mut_ptr() as u64);
    // `query` of `union bpf_attr`: target, type, query flags, attach flags, ids, their number.
    let mut words = [
        cgroup.as_raw_fd() as u32,
        hook.attach_type(),
        0,
        0,
        low,
        high,
        ids.len() as u32,
        0,
    ];
    call(PROG_QUERY, &mut words).context("cannot list the programs of a cgroup")?;
    let found = ids.iter().take(words[6] as usize);
    Ok(found.map(|id| u64::from(*id)).collect())
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            let mut words = cgroup_words(cgroup, &self.program, self.hook, 0);
            if let Err(error) = call(PROG_DETACH, &mut words) {
                eprintln!("a foreign program stays on its cgroup: {error:#}");
            }
        }
    }
}

/// Target, program, type, flags: what attaching and detaching take; detaching takes no flags.
fn cgroup_words(cgroup: &File, program: &OwnedFd, hook: Hook, flags: u32) -> [u32; 4] {
    [
        cgroup.as_raw_fd() as u32,
        program.as_raw_fd() as u32,
        hook.attach_type(),
        flags,
    ]
}

fn index_of(interface: &str) -> Result<u32> {
    let name = CString::new(interface)?;
    // SAFETY: the name ends with a zero byte and lives for the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    ensure!(index != 0, "there is no interface {interface}");
    Ok(index)
}

fn load_for(hook: Hook) -> Result<OwnedFd> {
    // `expected_attach_type`, which sock_ops does not have.
    let expected = if matches!(hook, Hook::SockOpsOverride | Hook::SockOps) {
        0
    } else {
        hook.attach_type()
    };
    let kind = Kind {
        program_type: hook.program_type(),
        attach_type: expected,
        function: 0,
    };
    load_returning(hook.verdict(), kind)
}

/// What sort of program is to be loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// `enum bpf_prog_type`.
    pub(crate) program_type: u32,
    /// `enum bpf_attach_type`, where the kernel wants to know it.
    pub(crate) attach_type: u32,
    /// The function's number in the kernel's types, for programs at a function's entry.
    pub(crate) function: u32,
}

/// `return verdict;`.
pub(crate) fn load_returning(verdict: i32, kind: Kind) -> Result<OwnedFd> {
    // `mov64 r0, verdict` and `exit`: opcode in the lowest byte, immediate in the upper half.
    let code = [u64::from(verdict as u32) << 32 | 0xb7, 0x95];
    load(&code, kind)
}

/// Any instructions.
pub(crate) fn load(code: &[u64], kind: Kind) -> Result<OwnedFd> {
    let license = c"GPL";
    let [code_low, code_high] = halves(code.as_ptr() as u64);
    let [license_low, license_high] = halves(license.as_ptr() as u64);
    let mut words = [0_u32; 28];
    words[..6].copy_from_slice(&[
        kind.program_type,
        code.len() as u32,
        code_low,
        code_high,
        license_low,
        license_high,
    ]);
    for (word, part) in words[12..16].iter_mut().zip(NAME.as_bytes().chunks(4)) {
        let mut bytes = [0; 4];
        bytes[..part.len()].copy_from_slice(part);
        *word = u32::from_ne_bytes(bytes);
    }
    words[17] = kind.attach_type;
    words[27] = kind.function;
    // Kernels before 5.11 count programs as locked memory of the process; later ones do not ask, so a refusal is no matter.
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    let _refused = setrlimit(Resource::Memlock, unlimited);
    bpf(PROG_LOAD, &words).context("cannot load a foreign program")
}

pub(crate) fn halves(pointer: u64) -> [u32; 2] {
    [pointer as u32, (pointer >> 32) as u32]
}

pub(crate) fn bpf(command: libc::c_int, words: &[u32]) -> Result<OwnedFd> {
    let descriptor = call(command, &mut words.to_vec())?;
    // SAFETY: the call succeeded and returned a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The kernel writes its answer into `words`.
pub(crate) fn call(command: libc::c_int, words: &mut [u32]) -> Result<RawFd> {
    // SAFETY: the attribute is `words`, and the pointers in it are those of live buffers of the caller.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            words.as_mut_ptr(),
            std::mem::size_of_val(words),
        )
    };
    if outcome < 0 {
        return Err(std::io::Error::last_os_error()).context("bpf(2)");
    }
    Ok(outcome as RawFd)
}
