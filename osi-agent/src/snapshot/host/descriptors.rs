//! Descriptors in use, of each process against its limit and of the host against `fs.file-max`.
//!
//! All processes are looked at in turns, for a few milliseconds per pass; those that have most of theirs in use in every pass.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::{Scratch, procfs};
use crate::host::{namespaces, processes};
use crate::snapshot::{Gauge, OpenFiles};

/// How long the processes at hand may take in one pass.
const LONGEST: Duration = Duration::from_millis(10);

/// Processes that are kept, those with the fewest descriptors left first.
const PROCESSES: usize = 256;

/// Descriptors that are counted of a process where the kernel does not count them itself.
const COUNTED: usize = 65_536;

/// A lower limit is a sandbox, which opens no files and takes the limit for a lock.
const LEAST: u64 = 16;

/// What is known of the processes, and which are still to be looked at in this round.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Whether the size of `/proc/PID/fd` is the number of descriptors: since 6.2.
    sized: Option<bool>,
    left: Vec<u32>,
    known: HashMap<u32, Known>,
    /// Processes that had most of theirs in use in the last pass.
    short: Vec<u32>,
}

/// A process when its limit was read.
#[derive(Clone, Copy, Debug)]
struct Known {
    used: u64,
    limit: u64,
}

/// Open files of the host, and the processes that have half of their descriptors in use or more.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<(Option<Gauge>, Vec<OpenFiles>)> {
    let Scratch {
        text, descriptors, ..
    } = scratch;
    let files = host(procfs::read("/proc/sys/fs/file-nr", text)?);
    Ok((files, descriptors.pass(text)?))
}

/// The first number of `/proc/sys/fs/file-nr` and the last one.
pub(crate) fn host(text: &str) -> Option<Gauge> {
    Some(Gauge {
        used: procfs::number(text, 0)?,
        limit: procfs::number(text, 2)?,
    })
}

/// The soft limit of `/proc/PID/limits`; `None` where there is none.
pub(crate) fn limit(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    procfs::number(line, 0)
}

/// Whether half of the descriptors are in use. A few beyond the limit were handed down with higher numbers than may be opened;
/// far beyond it is who lowered it afterwards, so as to open nothing more.
const fn is_short(used: u64, limit: u64) -> bool {
    limit >= LEAST && used >= limit / 2 && used <= limit + limit / 8
}

impl Round {
    fn pass(&mut self, text: &mut String) -> io::Result<Vec<OpenFiles>> {
        let started = Instant::now();
        let (mut rows, mut refused) = (Vec::new(), 0);
        let short = std::mem::take(&mut self.short);
        for pid in &short {
            // The limit may have been raised meanwhile.
            self.known.remove(pid);
            refused += self.look(*pid, text, &mut rows);
        }
        if self.left.is_empty() {
            self.left = processes::pids().collect();
            let there: HashSet<u32> = self.left.iter().copied().collect();
            self.known.retain(|pid, _| there.contains(pid));
        }
        while started.elapsed() < LONGEST {
            let Some(pid) = self.left.pop() else { break };
            if !short.contains(&pid) {
                refused += self.look(pid, text, &mut rows);
            }
        }
        if refused > 0 {
            self.short = short;
            return Err(io::Error::other(format!(
                "the descriptors of {refused} processes can not be counted: run as root or with CAP_SYS_PTRACE"
            )));
        }
        rows.sort_by_key(|row: &OpenFiles| row.limit.saturating_sub(row.used));
        rows.truncate(PROCESSES);
        self.short = rows.iter().map(|row| row.process.pid).collect();
        Ok(rows)
    }

    /// Looks at one process; 1 where that is refused.
    fn look(&mut self, pid: u32, text: &mut String, rows: &mut Vec<OpenFiles>) -> u64 {
        match self.open_files(pid, text) {
            Ok(row) => rows.extend(row),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return 1,
            // It has ended.
            Err(_) => {
                self.known.remove(&pid);
            }
        }
        0
    }

    fn open_files(&mut self, pid: u32, text: &mut String) -> io::Result<Option<OpenFiles>> {
        let used = self.count(pid)?;
        if used < LEAST / 2 {
            return Ok(None);
        }
        let limit = match self.known.get(&pid) {
            // Who opens and closes nothing does not run short of anything, and another process with this id has another number.
            Some(known) if known.used == used => known.limit,
            _ => {
                let path = format!("/proc/{pid}/limits");
                let limit = limit(procfs::read(&path, text)?).unwrap_or(u64::MAX);
                self.known.insert(pid, Known { used, limit });
                limit
            }
        };
        if !is_short(used, limit) {
            return Ok(None);
        }
        let link = fs::read_link(format!("/proc/{pid}/ns/net"));
        let netns = link
            .ok()
            .and_then(|link| namespaces::parse_link(link.as_os_str().as_encoded_bytes()));
        Ok(processes::describe(pid).map(|process| OpenFiles {
            process,
            netns: netns.unwrap_or(0),
            used,
            limit,
        }))
    }

    fn count(&mut self, pid: u32) -> io::Result<u64> {
        let own = || fs::metadata("/proc/self/fd").is_ok_and(|about| about.len() > 0);
        let path = format!("/proc/{pid}/fd");
        if *self.sized.get_or_insert_with(own) {
            return Ok(fs::metadata(path)?.len());
        }
        Ok(fs::read_dir(path)?.take(COUNTED).count() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn files_of_the_host_are_the_first_number_and_the_last() {
        let gauge = Gauge {
            used: 1216,
            limit: 9_223_372_036_854_775_807,
        };
        assert_eq!(host("1216\t0\t9223372036854775807\n"), Some(gauge));
        assert_eq!(host("1216\t0\n"), None);
    }

    #[test]
    fn the_soft_limit_of_open_files_is_read() {
        let text = "\
Limit                     Soft Limit           Hard Limit           Units     \n\
Max processes             unlimited            unlimited            processes \n\
Max open files            1024                 1048576              files     \n";
        assert_eq!(limit(text), Some(1024));
        assert_eq!(
            limit("Max open files            unlimited  unlimited  files"),
            None
        );
        assert_eq!(limit(""), None);
    }

    #[test]
    fn who_lowered_the_limit_below_what_is_open_wants_no_more() {
        for (used, limit, short) in [
            (511, 1024, false),
            (512, 1024, true),
            (1024, 1024, true),
            (33, 32, true),
            (1153, 1024, false),
            (12, 15, false),
            (3, 0, false),
        ] {
            assert_eq!(is_short(used, limit), short, "{used} of {limit}");
        }
    }

    #[test]
    fn both_ways_of_counting_see_what_this_process_opens() {
        let pid = std::process::id();
        for sized in [None, Some(false)] {
            let mut round = Round {
                sized,
                ..Round::default()
            };
            let count = |round: &mut Round| round.count(pid).expect("own descriptors");
            let before = count(&mut round);
            // Other tests open and close theirs meanwhile.
            let files: Vec<_> = (0..400).map(|_| File::open("/proc/self/stat")).collect();
            let after = count(&mut round);
            assert!(after > before + 200, "{before} and {after}");
            drop(files);
        }
    }
}
