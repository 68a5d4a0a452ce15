//! What must hold before anything is loaded: privileges, types, a cgroup to hang on.

use std::path::PathBuf;

use crate::sandbox::Role;

/// A capability that the agent makes use of.
#[derive(Debug)]
pub struct Capability {
    /// Its name.
    pub name: &'static str,
    /// Its bit (`include/uapi/linux/capability.h`).
    bit: u32,
    /// What needs it.
    pub needed_for: &'static str,
    /// Without it nothing is measured; without the others something is blind.
    pub required: bool,
    /// Who still needs it once everything is loaded and attached.
    pub kept: &'static [Role],
}

/// Capabilities that the agent makes use of.
pub static CAPABILITIES: &[Capability] = &[
    Capability {
        name: "CAP_BPF",
        bit: 39,
        needed_for: "maps and programs",
        required: true,
        kept: &[Role::Watcher],
    },
    Capability {
        name: "CAP_PERFMON",
        bit: 38,
        needed_for: "programs that read kernel memory",
        required: true,
        kept: &[],
    },
    Capability {
        name: "CAP_NET_ADMIN",
        bit: 12,
        needed_for: "tc, XDP and sock_ops programs, socket details, nftables rules",
        required: true,
        kept: &[Role::Watcher, Role::Helper],
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        needed_for: "finding the network namespaces of other users' processes; without it they are not seen",
        required: false,
        kept: &[Role::Helper],
    },
    Capability {
        name: "CAP_SYS_ADMIN",
        bit: CAP_SYS_ADMIN,
        needed_for: "entering other network namespaces; without it they are blind",
        required: false,
        kept: &[Role::Helper],
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        needed_for: "files of /proc and /sys that only their owner may read",
        required: false,
        kept: &[Role::Helper],
    },
    Capability {
        name: "CAP_SYSLOG",
        bit: 34,
        needed_for: "addresses of kernel functions, where kernel.kptr_restrict hides them; without it drops have no caller",
        required: false,
        kept: &[],
    },
    Capability {
        name: "CAP_SYS_RESOURCE",
        bit: 24,
        needed_for: "room for maps on kernels before 5.11, which count them as locked memory",
        required: false,
        kept: &[],
    },
];
/// Stands in for CAP_BPF and CAP_PERFMON.
pub(crate) const CAP_SYS_ADMIN: u32 = 21;

/// Effective capabilities of this process, as a bit set (`/proc/self/status`, `CapEff`).
pub fn effective_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse_capabilities(&status)
}

pub(crate) fn parse_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

impl Capability {
    /// As a set of one.
    pub const fn bit(&self) -> u64 {
        1 << self.bit
    }

    /// Whether a process with these capabilities has it, or one that includes it.
    pub fn is_held(&self, effective: u64) -> bool {
        let has = |bit: u32| effective >> bit & 1 == 1;
        // CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON, but no other.
        let covered = matches!(self.name, "CAP_BPF" | "CAP_PERFMON");
        has(self.bit) || covered && has(CAP_SYS_ADMIN)
    }
}

/// The capabilities without which nothing is measured.
pub fn required_capabilities() -> impl Iterator<Item = &'static Capability> {
    CAPABILITIES.iter().filter(|capability| capability.required)
}

/// Names of the capabilities that are required and not there.
pub fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    required_capabilities()
        .filter(|capability| !capability.is_held(effective))
        .map(|capability| capability.name)
        .collect()
}

/// Where the cgroup2 hierarchy is mounted: `/sys/fs/cgroup`, or elsewhere on hosts that mix both versions.
pub fn cgroup2_root() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    parse_cgroup2_root(&mounts)
}

pub(crate) fn parse_cgroup2_root(mountinfo: &str) -> Option<PathBuf> {
    mount_of(mountinfo, |kind, _| kind == "cgroup2")
}

/// Where the first file system is mounted whose type and own options are the wanted ones.
pub(crate) fn mount_of(mountinfo: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut tail = tail.split(' ');
        let (kind, options) = (tail.next()?, tail.nth(1)?);
        wanted(kind, options).then(|| head.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// Active lockdown mode, or `None` where the kernel has no lockdown or securityfs is not mounted.
pub fn lockdown() -> Option<String> {
    let modes = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    parse_lockdown(&modes)
}

/// The one in brackets: `none [integrity] confidentiality`.
pub(crate) fn parse_lockdown(modes: &str) -> Option<String> {
    Some(modes.split('[').nth(1)?.split(']').next()?.to_owned())
}

/// Kernels before 5.11 account map memory against this process's limit of locked memory; the limit is ours alone.
pub fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    // Without the privilege the maps may still fit; if not, creating them says so.
    let _refused = setrlimit(Resource::Memlock, unlimited);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_unified_hierarchy_beside_the_old_one() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n\
                      31 24 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            parse_cgroup2_root(mounts),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(parse_cgroup2_root("garbage\n"), None);
    }

    #[test]
    fn names_what_is_missing() {
        assert_eq!(
            missing_capabilities(0),
            ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]
        );
        assert_eq!(missing_capabilities(1 << 21), ["CAP_NET_ADMIN"]);
        assert!(missing_capabilities(1 << 12 | 1 << 38 | 1 << 39).is_empty());
    }
}
