//! Whether the memory that this process may use is enough to start: a limit that is too tight kills it without a word.

use std::fs;
use std::path::{Path, PathBuf};

use super::btf::VMLINUX;
use super::preflight::{mount_of, parse_cgroup2_root};

/// What starting takes for a moment beside the kernel's types: maps, programs, the list of the kernel's functions.
const BASE: u64 = 16 << 20;
/// Bytes that reading the types takes per byte of them where the kernel has no Landlock to keep the loader from it.
const PER_TYPE_BYTE: u64 = 7;

/// A memory limit below what starting takes for a moment.
#[derive(Debug)]
pub struct Tight {
    /// The tightest limit of this process's memory cgroups.
    pub limit: u64,
    /// What starting takes.
    pub needed: u64,
}

/// The limit, where there is one that is too tight.
pub fn tight() -> Option<Tight> {
    let types = fs::metadata(VMLINUX).map_or(0, |file| file.len());
    let needed = BASE + PER_TYPE_BYTE * types;
    let limit = limit()?;
    (limit < needed).then_some(Tight { limit, needed })
}

/// The tightest limit of this process's memory cgroup and those above it; `None` where none is told.
fn limit() -> Option<u64> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = hierarchies(&mounts, &groups)
        .into_iter()
        .flat_map(|(mount, group)| {
            // Inside a container the group may be named as the host sees it; the mount itself is the container's then.
            let below = group.ancestors().map(|above| mount.join(above));
            below.collect::<Vec<_>>()
        })
        .flat_map(|group| ["memory.max", "memory.limit_in_bytes"].map(|name| group.join(name)))
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.min()
}

/// Where the hierarchies that may limit memory are mounted, and this process's group in each, relative to that.
pub(crate) fn hierarchies<'a>(mountinfo: &str, groups: &'a str) -> Vec<(PathBuf, &'a Path)> {
    let has_memory = |list: &str| list.split(',').any(|name| name == "memory");
    let find = |line: &'a str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let mount = if controllers.is_empty() {
            parse_cgroup2_root(mountinfo)?
        } else if has_memory(controllers) {
            mount_of(mountinfo, |kind, options| {
                kind == "cgroup" && has_memory(options)
            })?
        } else {
            return None;
        };
        Some((mount, Path::new(path.trim_start_matches('/'))))
    };
    groups.lines().filter_map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n\
                      31 24 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
                      32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "4:memory:/jobs/a\n1:cpu:/b\n0::/c\n";
        assert_eq!(
            hierarchies(mounts, groups),
            [
                (PathBuf::from("/sys/fs/cgroup/memory"), Path::new("jobs/a")),
                (PathBuf::from("/sys/fs/cgroup/unified"), Path::new("c")),
            ]
        );
        assert_eq!(hierarchies("garbage - \n", "garbage\n:::\n"), []);
    }
}
