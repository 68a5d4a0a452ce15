//! Quotas of CPU time that cgroups have used up: `cpu.stat` of those that have one, in either version of the hierarchy.
//!
//! All groups are looked at in turns, for a few milliseconds per pass; those with a quota in every pass.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Kept, Scratch, procfs};
use crate::host::text::clean;
use crate::probe::preflight::{mount_of, parse_cgroup2_root};
use crate::snapshot::Quota;

/// How long the search for groups with a quota may take in one pass.
const LONGEST: Duration = Duration::from_millis(5);
/// Passes from the end of a search to the next one: quotas are given when something starts.
const EVERY: u32 = 10;
/// Groups with a quota that are kept.
const QUOTAS: usize = 256;
/// Groups that are looked at for it.
const GROUPS: usize = 16_384;
/// Groups inside one with a quota whose processes share it.
const INSIDE: usize = 64;
/// Processes of a group that are told.
const MEMBERS: usize = 512;
/// Longest path that is told.
const PATH_MAX: usize = 256;

/// Where the hierarchy with CPU time is, and the names of its files.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy {
    pub(crate) root: PathBuf,
    /// Holds the quota: a word that is not `max` and not negative.
    quota: &'static str,
    /// Holds the length of a period in microseconds, and as which word.
    period: (&'static str, usize),
    /// The key of the time that was withheld, and its unit in nanoseconds.
    withheld: (&'static str, u64),
}

/// A group with a quota.
#[derive(Debug)]
struct Group {
    path: PathBuf,
    quota_ns: u64,
    period_ns: u64,
    /// `nr_throttled` at the last look.
    throttled: Option<u64>,
    /// Who was in it when it was last throttled.
    members: Vec<u32>,
}

/// The groups of the host.
#[derive(Debug, Default)]
pub(super) struct Search {
    hierarchy: Option<Hierarchy>,
    known: Vec<Group>,
    /// Of the search at hand: what is still to be looked at.
    left: Vec<PathBuf>,
    found: Vec<Group>,
    looked: usize,
    /// Groups with a quota beyond the bound, and groups that were not looked at, at the end of the last search.
    omitted: u64,
    /// Passes since the last search ended.
    idle: u32,
}

/// The groups with a quota that was in use since they were made.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<Kept<Quota>> {
    let Scratch { text, quotas, .. } = scratch;
    quotas.pass(text)
}

/// The hierarchy that these mounts (`/proc/self/mountinfo`) have for CPU time: the first version where it has the controller,
/// which the second can not have then.
pub(crate) fn hierarchy(mountinfo: &str) -> Option<Hierarchy> {
    let has_cpu = |options: &str| options.split(',').any(|name| name == "cpu");
    let first = mount_of(mountinfo, |kind, options| {
        kind == "cgroup" && has_cpu(options)
    });
    if let Some(root) = first {
        return Some(Hierarchy {
            root,
            quota: "cpu.cfs_quota_us",
            period: ("cpu.cfs_period_us", 0),
            withheld: ("throttled_time", 1),
        });
    }
    Some(Hierarchy {
        root: parse_cgroup2_root(mountinfo)?,
        quota: "cpu.max",
        period: ("cpu.max", 1),
        withheld: ("throttled_usec", 1000),
    })
}

/// The quota in the content of its file, if that is one.
pub(crate) fn quota_ns(text: &str) -> Option<u64> {
    nanoseconds(text, 0)
}

/// A word that is a number of microseconds.
fn nanoseconds(text: &str, word: usize) -> Option<u64> {
    procfs::number::<u64>(text, word).map(|us| us.saturating_mul(1000))
}

/// The number behind a key of `cpu.stat`.
pub(crate) fn stat(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key)?.1.trim().parse().ok()
}

impl Hierarchy {
    fn period_ns(&self, group: &Path, text: &mut String) -> Option<u64> {
        let (file, word) = self.period;
        nanoseconds(read_in(group, file, text)?, word)
    }
}

impl Search {
    fn pass(&mut self, text: &mut String) -> io::Result<Kept<Quota>> {
        if self.hierarchy.is_none() {
            self.hierarchy = hierarchy(procfs::read("/proc/self/mountinfo", text)?);
        }
        let Some(hierarchy) = self.hierarchy.clone() else {
            return Err(io::Error::other("no hierarchy of cgroups is mounted"));
        };
        let mut kept = Kept::new(QUOTAS);
        for group in &mut self.known {
            // One that is gone, or got its quota taken away, is no row.
            if let Some(row) = group.read(&hierarchy, text) {
                kept.push(row);
            }
        }
        kept.omitted = self.omitted;
        self.search(&hierarchy, text, LONGEST);
        Ok(kept)
    }

    /// Goes on with the search, by one group at least.
    fn search(&mut self, hierarchy: &Hierarchy, text: &mut String, longest: Duration) {
        if self.left.is_empty() {
            if !self.known.is_empty() || self.idle > 0 {
                self.idle += 1;
                if self.idle <= EVERY {
                    return;
                }
            }
            self.left = children(&hierarchy.root).collect();
            (self.looked, self.idle) = (0, 0);
        }
        let started = Instant::now();
        while let Some(path) = self.left.pop() {
            self.look(path, hierarchy, text);
            if started.elapsed() >= longest {
                break;
            }
        }
        // The time may be over with the last of them.
        if self.left.is_empty() {
            self.end();
        }
    }

    fn look(&mut self, path: PathBuf, hierarchy: &Hierarchy, text: &mut String) {
        self.looked += 1;
        if self.looked > GROUPS {
            return;
        }
        self.left.extend(children(&path));
        let quota_ns = read_in(&path, hierarchy.quota, text).and_then(quota_ns);
        if let Some(quota_ns) = quota_ns.filter(|_| self.found.len() < QUOTAS) {
            let period_ns = hierarchy.period_ns(&path, text).unwrap_or_default();
            self.found.push(Group {
                path,
                quota_ns,
                period_ns,
                throttled: None,
                members: Vec::new(),
            });
        }
    }

    /// What was known of a group stays with it.
    fn end(&mut self) {
        let mut found = std::mem::take(&mut self.found);
        for group in &mut found {
            if let Some(old) = self.known.iter_mut().find(|old| old.path == group.path) {
                group.throttled = old.throttled;
                group.members = std::mem::take(&mut old.members);
            }
        }
        self.omitted = self.looked.saturating_sub(GROUPS) as u64;
        self.known = found;
        self.idle = 1;
    }
}

impl Group {
    fn read(&mut self, hierarchy: &Hierarchy, text: &mut String) -> Option<Quota> {
        let content = read_in(&self.path, "cpu.stat", text)?;
        let (key, unit_ns) = hierarchy.withheld;
        let (periods, throttled, withheld) = (
            stat(content, "nr_periods")?,
            stat(content, "nr_throttled")?,
            stat(content, key)?,
        );
        let before = self.throttled.replace(throttled);
        if before.is_some_and(|before| throttled > before) {
            self.members = self.processes(text);
        }
        Some(Quota {
            group: clean(self.path.as_os_str().as_encoded_bytes(), PATH_MAX),
            quota_ns: self.quota_ns,
            period_ns: self.period_ns,
            periods,
            throttled,
            withheld_ns: withheld.saturating_mul(unit_ns),
            members: self.members.clone(),
        })
    }

    /// The processes that are in it, in its groups, in theirs and so on: they share the quota.
    fn processes(&self, text: &mut String) -> Vec<u32> {
        let (mut members, mut left) = (Vec::new(), vec![self.path.clone()]);
        for _ in 0..INSIDE {
            let Some(group) = left.pop() else { break };
            let content = read_in(&group, "cgroup.procs", text).unwrap_or_default();
            members.extend(content.lines().filter_map(|line| line.parse::<u32>().ok()));
            left.extend(children(&group));
        }
        members.truncate(MEMBERS);
        members
    }
}

fn read_in<'a>(group: &Path, file: &str, text: &'a mut String) -> Option<&'a str> {
    procfs::read(group.join(file).to_str()?, text).ok()
}

fn children(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number() {
        assert_eq!(quota_ns("50000 100000\n"), Some(50_000_000));
        assert_eq!(quota_ns("50000\n"), Some(50_000_000));
        assert_eq!(["max 100000\n", "-1\n", ""].map(quota_ns), [None; 3]);
    }

    #[test]
    fn the_first_version_has_the_time_where_it_has_the_controller() {
        let mixed = "30 24 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                     31 24 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let found = hierarchy(mixed).expect("a hierarchy");
        assert_eq!(found.root, Path::new("/sys/fs/cgroup/cpu"));
        assert_eq!(found.quota, "cpu.cfs_quota_us");
        assert_eq!(nanoseconds("100000\n", found.period.1), Some(100_000_000));
        let second = mixed.split_once('\n').expect("two lines").1;
        let found = hierarchy(second).expect("a hierarchy");
        assert_eq!(found.root, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(
            nanoseconds("50000 100000\n", found.period.1),
            Some(100_000_000)
        );
        assert!(hierarchy("").is_none());
    }

    #[test]
    fn each_group_is_known_once_however_little_time_there_is() {
        let root = std::env::temp_dir().join(format!("osi-quotas-{}", std::process::id()));
        let mount = format!("31 24 0:27 / {} rw - cgroup2 cgroup2 rw\n", root.display());
        let hierarchy = hierarchy(&mount).expect("a hierarchy");
        for name in ["a", "b"] {
            fs::create_dir_all(root.join(name)).expect("a directory");
            fs::write(root.join(name).join("cpu.max"), "50000 100000\n").expect("a file");
        }
        let (mut search, mut text) = (Search::default(), String::new());
        for _ in 0..2 {
            search.search(&hierarchy, &mut text, Duration::ZERO);
        }
        let mut known: Vec<_> = search.known.iter().map(|group| &group.path).collect();
        known.sort();
        assert_eq!(known, [&root.join("a"), &root.join("b")]);
        fs::remove_dir_all(&root).expect("it goes");
    }

    #[test]
    fn the_numbers_stand_behind_their_keys() {
        let text = "usage_usec 5\nnr_periods 12\nnr_throttled 7\nthrottled_usec 900\n";
        let numbers = ["nr_periods", "nr_throttled", "throttled_usec", "throttled"];
        assert_eq!(
            numbers.map(|key| stat(text, key)),
            [Some(12), Some(7), Some(900), None]
        );
    }
}
