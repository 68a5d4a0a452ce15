//! Which processes hold sockets open: one bounded walk through `/proc/*/fd`, for any number of questions at once.
//!
//! A link is read for every descriptor of the host, so whoever asks says what a walk may take; what was not looked at is counted.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Dir, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::processes::{describe_in, open, pids};
use crate::scope::Process;

/// Processes that are named of those that hold some sockets; the others are counted.
pub const NAMED: usize = 4;

/// What a walk may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// It ends after so long, whatever it found.
    pub longest: Duration,
    /// Descriptors that are looked at per process, lowest first.
    pub of_process: usize,
    /// Descriptors that are looked at in all.
    pub of_all: usize,
}

/// A process, and how many of the sockets it holds. Those that it shares with others count for each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketHolder {
    /// Which.
    pub process: Process,
    /// How many.
    pub sockets: u64,
}

/// Who holds the sockets of one question open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Those that hold most of them, most first and then by id, at most [`NAMED`].
    pub holders: Vec<SocketHolder>,
    /// How many processes hold any.
    pub processes: u32,
    /// Sockets that somebody holds. The others are nobody's, or of processes that were not read.
    pub sockets: u64,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// An answer to each question, in their order.
    pub held: Vec<Held>,
    /// Processes of which some or all descriptors were not looked at: a bound, or no permission.
    pub unread: u32,
}

/// What is left of a walk's bounds.
struct Room {
    end: Instant,
    of_process: usize,
    left: usize,
}

impl Room {
    fn is_used_up(&self) -> bool {
        self.left == 0 || Instant::now() >= self.end
    }
}

/// The processes that hold sockets now. A question is a set of their inodes; no inode is in two of them.
///
/// Another process's descriptors take CAP_SYS_PTRACE. A process is the same from its link to its name and start time,
/// because all are read through one open directory, which no later process of that id can take over.
#[expect(clippy::implicit_hasher, reason = "nobody asks with another hasher")]
pub fn walk(questions: &[HashSet<u32>], bounds: &Bounds) -> Walked {
    let mut walked = Walked {
        held: vec![Held::default(); questions.len()],
        unread: 0,
    };
    let asked = questions.iter().enumerate();
    let wanted: HashMap<u32, usize> = asked
        .flat_map(|(question, inodes)| inodes.iter().map(move |inode| (*inode, question)))
        .collect();
    if wanted.is_empty() {
        return walked;
    }
    let mut room = Room {
        end: Instant::now() + bounds.longest,
        of_process: bounds.of_process,
        left: bounds.of_all,
    };
    let mut seen = HashSet::new();
    for pid in pids() {
        if room.is_used_up() {
            walked.unread += 1;
            continue;
        }
        let Ok(process) = open(pid) else {
            // It has ended.
            continue;
        };
        match sockets(&process, &wanted, &mut room) {
            Ok((found, complete)) => {
                walked.unread += u32::from(!complete);
                for of_one in found.chunk_by(|one, other| one.0 == other.0) {
                    let Some(held) = of_one.first().and_then(|(at, _)| walked.held.get_mut(*at))
                    else {
                        continue;
                    };
                    if held.note(pid, &process, of_one.len() as u64) {
                        let new = of_one.iter().filter(|(_, inode)| seen.insert(*inode));
                        held.sockets += new.count() as u64;
                    }
                }
            }
            Err(Errno::ACCESS | Errno::PERM) => walked.unread += 1,
            Err(_) => {}
        }
    }
    walked
}

impl Held {
    /// Adds a process; false where it has ended. Only those that may be named are asked for their names.
    fn note(&mut self, pid: u32, process: &OwnedFd, sockets: u64) -> bool {
        let place = self.holders.partition_point(|row| row.sockets >= sockets);
        if place < NAMED {
            let Some(process) = describe_in(pid, process) else {
                return false;
            };
            self.holders
                .insert(place, SocketHolder { process, sockets });
            self.holders.truncate(NAMED);
        }
        self.processes += 1;
        true
    }
}

/// Those of the sockets that a process holds, each once, by question, and whether all its descriptors were looked at.
fn sockets(
    process: &OwnedFd,
    wanted: &HashMap<u32, usize>,
    room: &mut Room,
) -> Result<(Vec<(usize, u32)>, bool), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(process, "fd", flags, Mode::empty())?;
    let (mut held, mut complete) = (Vec::new(), true);
    let mut buffer = Vec::new();
    for (position, entry) in Dir::read_from(&directory)?.enumerate() {
        let late = position % 1024 == 1023 && Instant::now() >= room.end;
        if position >= room.of_process || room.left == 0 || late {
            complete = false;
            break;
        }
        room.left -= 1;
        let entry = entry?;
        // Closed meanwhile, or `.` and `..`: no link.
        if let Ok(target) = readlinkat(directory.as_fd(), entry.file_name(), buffer) {
            let inode = parse_socket(target.to_bytes());
            held.extend(inode.and_then(|inode| Some((*wanted.get(&inode)?, inode))));
            buffer = target.into_bytes();
        } else {
            buffer = Vec::new();
        }
    }
    held.sort_unstable();
    held.dedup();
    Ok((held, complete))
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
pub(crate) mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    const FREE: Bounds = Bounds {
        longest: Duration::from_mins(1),
        of_process: usize::MAX,
        of_all: usize::MAX,
    };

    /// The inode of one of this process's own sockets.
    pub(crate) fn inode(socket: &impl AsRawFd) -> u32 {
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("link");
        parse_socket(link.as_os_str().as_bytes()).expect("inode")
    }

    pub(crate) fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").expect("listener")
    }

    #[test]
    fn links_name_sockets() {
        assert_eq!(parse_socket(b"socket:[4026531840]"), Some(4_026_531_840));
        assert_eq!(parse_socket(b"pipe:[7]"), None);
        assert_eq!(parse_socket(b"socket:[]"), None);
        assert_eq!(parse_socket(b"socket:[1"), None);
    }

    #[test]
    fn several_questions_are_answered_in_one_walk() {
        let listeners = [(); 3].map(|()| listener());
        let again = listeners[2].try_clone().expect("the same socket");
        let [one, two, three] = listeners.each_ref().map(inode);
        assert_eq!(inode(&again), three);
        let questions = [
            HashSet::from([one]),
            HashSet::from([two, three, u32::MAX]),
            HashSet::new(),
        ];
        let found = walk(&questions, &FREE);
        let own = |held: &Held| {
            let mut holders = held.holders.iter();
            holders
                .find(|row| row.process.pid == std::process::id())
                .cloned()
        };
        let sockets = |held: &Held| own(held).map(|row| row.sockets);
        assert_eq!(sockets(&found.held[0]), Some(1));
        assert_eq!(
            sockets(&found.held[1]),
            Some(2),
            "a socket with two descriptors is one"
        );
        assert_eq!(found.held[1].sockets, 2, "nobody holds the last one");
        assert_eq!(found.held[2], Held::default());
        assert!(own(&found.held[0]).is_some_and(|row| row.process.start_time > 0));
    }

    #[test]
    fn those_that_hold_most_are_named() {
        let process = open(std::process::id()).expect("own process");
        let mut held = Held::default();
        for (pid, sockets) in [(1, 1), (2, 5), (3, 1), (4, 1), (5, 3), (6, 1)] {
            assert!(held.note(pid, &process, sockets));
        }
        let named: Vec<_> = held
            .holders
            .iter()
            .map(|row| (row.process.pid, row.sockets))
            .collect();
        assert_eq!(named, [(2, 5), (5, 3), (1, 1), (3, 1)]);
        assert_eq!(held.processes, 6);
    }

    #[test]
    fn a_walk_without_room_says_what_it_did_not_read() {
        let listener = listener();
        let questions = [HashSet::from([inode(&listener)])];
        let tight = [
            Bounds {
                longest: Duration::ZERO,
                ..FREE
            },
            Bounds {
                of_process: 0,
                ..FREE
            },
            Bounds { of_all: 0, ..FREE },
        ];
        for bounds in tight {
            let found = walk(&questions, &bounds);
            assert!(
                found.held == [Held::default()] && found.unread > 0,
                "{found:?}"
            );
        }
    }

    #[test]
    fn no_question_costs_no_walk() {
        let nothing = Bounds {
            longest: Duration::ZERO,
            ..FREE
        };
        assert_eq!(walk(&[], &nothing), Walked::default());
        assert_eq!(walk(&[HashSet::new()], &nothing).unread, 0);
    }
}
