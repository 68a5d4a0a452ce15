//! cgroups: with a limit of memory or of CPU time, of either version, and some with names of our choice; they go with their values.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::wait;

/// Where systems mount the hierarchies that limit memory, with the file of the limit and that of the most ever used.
const HIERARCHIES: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup", "memory.max", "memory.peak"),
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.max_usage_in_bytes",
    ),
];
/// The kernel lets go of an ended process a little later.
const EMPTY: Duration = Duration::from_secs(10);

/// A group without processes.
#[derive(Debug)]
pub struct MemoryGroup {
    path: PathBuf,
    peak: &'static str,
}

impl MemoryGroup {
    /// Makes a group; `None` where no hierarchy lets one limit memory.
    pub fn create(role: &str, limit: u64) -> Result<Option<Self>> {
        for (root, file, peak) in HIERARCHIES {
            let path = Path::new(root).join(format!("osi-{}-{role}", std::process::id()));
            if !can_limit(Path::new(root), "memory", file) {
                continue;
            }
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
            let group = Self { path, peak };
            fs::write(group.path.join(file), limit.to_string()).context("cannot limit memory")?;
            return Ok(Some(group));
        }
        Ok(None)
    }

    /// The command that enters the group and then becomes what follows.
    pub fn starter(&self) -> Result<[&str; 4]> {
        starter(&self.path)
    }

    /// The most memory that it ever held at once; `None` where the kernel does not keep it (cgroup2 before 5.19).
    pub fn peak(&self) -> Option<u64> {
        let text = fs::read_to_string(self.path.join(self.peak)).ok()?;
        text.trim().parse().ok()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Where systems mount the hierarchies that limit CPU time, with the file of the quota, what stands behind that in it, and what
/// stands there where there is none.
const QUOTAS: [(&str, &str, &str, &str); 2] = [
    ("/sys/fs/cgroup", "cpu.max", " 100000", "max"),
    ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "", "-1"),
];

/// A group with a quota of CPU time in each tenth of a second.
#[derive(Debug)]
pub struct CpuGroup {
    path: PathBuf,
    file: &'static str,
    unlimited: &'static str,
}

impl CpuGroup {
    /// Makes a group; `None` where no hierarchy lets one limit CPU time.
    pub fn create(role: &str, quota: Duration) -> Result<Option<Self>> {
        for (root, file, behind, unlimited) in QUOTAS {
            if !can_limit(Path::new(root), "cpu", file) {
                continue;
            }
            let path = Path::new(root).join(format!("osi-{}-{role}", std::process::id()));
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
            let group = Self {
                path,
                file,
                unlimited,
            };
            let quota = format!("{}{behind}", quota.as_micros());
            fs::write(group.path.join(file), quota).context("cannot limit CPU time")?;
            return Ok(Some(group));
        }
        Ok(None)
    }

    /// Takes a process in.
    pub fn take(&self, pid: u32) -> Result<()> {
        let procs = self.path.join("cgroup.procs");
        fs::write(procs, pid.to_string()).context("the group does not take it")
    }

    /// Takes the quota away.
    pub fn lift(&self) -> Result<()> {
        fs::write(self.path.join(self.file), self.unlimited).context("the quota stays")
    }

    /// Periods in which the quota was used up.
    pub fn throttled(&self) -> Result<u64> {
        let text = fs::read_to_string(self.path.join("cpu.stat"))?;
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix("nr_throttled "));
        Ok(found.context("cpu.stat has no nr_throttled")?.parse()?)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for CpuGroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Where the hierarchy of the second version is mounted, if it is.
pub fn unified() -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    Ok(mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        (fields.get(2) == Some(&"cgroup2")).then(|| PathBuf::from(fields[1]))
    }))
}

/// Groups one inside the other in the hierarchy of the second version, for the sake of their names.
#[derive(Debug)]
pub struct NamedGroup {
    /// From the outermost to the innermost.
    paths: Vec<PathBuf>,
}

impl NamedGroup {
    /// Makes them; `None` where no such hierarchy is mounted.
    pub fn create(names: &[&str]) -> Result<Option<Self>> {
        let Some(mut path) = unified()? else {
            return Ok(None);
        };
        let mut group = Self { paths: Vec::new() };
        for name in names {
            path.push(name);
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
            group.paths.push(path.clone());
        }
        Ok(Some(group))
    }

    /// The command that enters the innermost one and then becomes what follows.
    pub fn starter(&self) -> Result<[&str; 4]> {
        starter(self.paths.last().context("no group")?)
    }
}

impl Drop for NamedGroup {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            remove(path);
        }
    }
}

fn starter(group: &Path) -> Result<[&str; 4]> {
    let path = group.to_str().context("the path is no text")?;
    let enter = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
    Ok(["sh", "-c", enter, path])
}

fn remove(group: &Path) {
    let removed = wait::until("the group is empty", EMPTY, || {
        Ok(fs::remove_dir(group).is_ok().then_some(()))
    });
    if let Err(error) = removed {
        eprintln!("{} stays behind: {error:#}", group.display());
    }
}

/// The root of the first version has the limit's file itself; that of the second must hand the controller to its children.
fn can_limit(root: &Path, controller: &str, file: &str) -> bool {
    let handed_on = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
    root.join(file).exists() || handed_on.split_whitespace().any(|name| name == controller)
}
