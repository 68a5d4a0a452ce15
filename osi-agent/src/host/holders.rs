//! Which processes hold sockets open: one bounded walk through `/proc/*/fd` for any number of inodes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Dir, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::processes::{describe_in, open, pids};
use crate::scope::Process;

/// Processes that are named of those that hold a socket; the others are counted.
pub const NAMED: usize = 4;

/// Descriptors that are looked at per process, lowest first. Servers open what they listen on before they serve, and a proxy
/// may hold a million connections after that.
const DESCRIPTORS: usize = 16_384;

/// Who holds a socket open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The lowest process ids, at most [`NAMED`]. Several processes may share a listener (a pre-forking server), and the
    /// first one is not always the one that serves.
    pub processes: Vec<Process>,
    /// How many processes in all.
    pub count: u32,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holders {
    /// Holders by inode; inodes that nobody holds, or that only unread processes hold, are not in it.
    pub of: HashMap<u32, Held>,
    /// Processes of which some or all descriptors were not looked at: no time left, no permission, or too many of them.
    pub unread: u32,
}

impl Holders {
    /// The processes that hold these sockets now, by inode. The walk ends after `most`, whatever it found.
    ///
    /// Another process's descriptors take CAP_SYS_PTRACE. A process is the same from its link to its name and start time,
    /// because all are read through one open directory, which no later process of that id can take over.
    pub fn find(inodes: &HashSet<u32>, most: Duration) -> Self {
        let mut found = Self::default();
        if inodes.is_empty() {
            return found;
        }
        let end = Instant::now() + most;
        let all: BTreeSet<u32> = pids().collect();
        for pid in all {
            if Instant::now() >= end {
                found.unread += 1;
                continue;
            }
            let Ok(process) = open(pid) else {
                // It has ended.
                continue;
            };
            match sockets(&process, inodes, end) {
                Ok((held, complete)) => {
                    found.unread += u32::from(!complete);
                    found.note(pid, &process, held);
                }
                Err(Errno::ACCESS | Errno::PERM) => found.unread += 1,
                Err(_) => {}
            }
        }
        found
    }

    fn note(&mut self, pid: u32, process: &OwnedFd, inodes: BTreeSet<u32>) {
        if inodes.is_empty() {
            return;
        }
        let Some(process) = describe_in(pid, process) else {
            return;
        };
        for inode in inodes {
            let held = self.of.entry(inode).or_default();
            held.count += 1;
            if held.processes.len() < NAMED {
                held.processes.push(process.clone());
            }
        }
    }
}

/// Those of the sockets that a process holds, and whether all its descriptors were looked at.
fn sockets(
    process: &OwnedFd,
    wanted: &HashSet<u32>,
    end: Instant,
) -> Result<(BTreeSet<u32>, bool), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(process, "fd", flags, Mode::empty())?;
    let mut held = BTreeSet::new();
    let mut buffer = Vec::new();
    for (position, entry) in Dir::read_from(&directory)?.enumerate() {
        if position >= DESCRIPTORS || (position % 1024 == 1023 && Instant::now() >= end) {
            return Ok((held, false));
        }
        let entry = entry?;
        // Closed meanwhile, or `.` and `..`: no link.
        if let Ok(target) = readlinkat(directory.as_fd(), entry.file_name(), buffer) {
            held.extend(parse_socket(target.to_bytes()).filter(|inode| wanted.contains(inode)));
            buffer = target.into_bytes();
        } else {
            buffer = Vec::new();
        }
    }
    Ok((held, true))
}

/// The inode in `socket:[1234]`, the target of `/proc/PID/fd/N`.
pub(crate) fn parse_socket(target: &[u8]) -> Option<u32> {
    std::str::from_utf8(target)
        .ok()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn inode(listener: &TcpListener) -> u32 {
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("link");
        parse_socket(link.as_os_str().as_bytes()).expect("inode")
    }

    #[test]
    fn links_name_sockets() {
        assert_eq!(parse_socket(b"socket:[4026531840]"), Some(4_026_531_840));
        assert_eq!(parse_socket(b"pipe:[7]"), None);
        assert_eq!(parse_socket(b"socket:[]"), None);
        assert_eq!(parse_socket(b"socket:[1"), None);
    }

    #[test]
    fn holders_of_several_sockets_are_found_in_one_walk() {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("listener"));
        let inodes = listeners.each_ref().map(inode);
        let found = Holders::find(&inodes.into(), LONG);
        for inode in inodes {
            let held = &found.of[&inode];
            assert_eq!(held.count as usize, held.processes.len(), "{held:?}");
            let pids = held.processes.iter().map(|process| process.pid);
            assert!(pids.eq([std::process::id()]), "{held:?}");
            assert!(held.processes[0].start_time > 0, "{held:?}");
        }
        assert_eq!(found.of.len(), 2, "nothing that was not asked for");
    }

    #[test]
    fn a_walk_without_time_says_what_it_did_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let found = Holders::find(&HashSet::from([inode(&listener)]), Duration::ZERO);
        assert!(found.of.is_empty() && found.unread > 0, "{found:?}");
    }

    #[test]
    fn no_question_costs_no_walk() {
        assert_eq!(
            Holders::find(&HashSet::new(), Duration::ZERO),
            Holders::default()
        );
    }
}
