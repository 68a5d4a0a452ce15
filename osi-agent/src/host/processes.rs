//! Who a process is: name, start time and cgroup, asked of `/proc` when something has to be named.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};

use super::text::clean;
use super::workload::Workload;
use crate::scope::Process;

/// `TASK_COMM_LEN` is 16, but kernel threads and prctl names may be shown longer by `/proc/PID/stat`; escapes need room.
pub(crate) const COMM_MAX: usize = 64;

/// Longest cgroup path that is kept, in characters.
pub(crate) const CGROUP_MAX: usize = 512;

/// The process with this id, `None` when there is none any more.
pub fn describe(pid: u32) -> Option<Process> {
    describe_in(pid, &open(pid).ok()?)
}

/// The directory of a process in `/proc`. It stays that of this process: when that ends, nothing can be read in it any more,
/// even if another gets the id.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(
        format!("/proc/{pid}"),
        flags,
        Mode::empty(),
    )?)
}

/// The process whose directory this is.
pub(crate) fn describe_in(pid: u32, directory: &OwnedFd) -> Option<Process> {
    let (comm, start_time) = parse_stat(&read(directory, "stat").ok()?)?;
    let cgroup = read(directory, "cgroup")
        .ok()
        .and_then(|text| parse_cgroup(&text));
    let (cgroup, workload) = cgroup.unzip();
    Some(Process {
        pid,
        start_time,
        comm,
        cgroup,
        workload: workload.unwrap_or_default(),
    })
}

fn read(directory: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let file = openat(
        directory,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut text = Vec::new();
    File::from(file).read_to_end(&mut text)?;
    Ok(text)
}

/// Every process id that `/proc` lists now.
pub(crate) fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Name (field 2) and start time (field 22) out of `/proc/PID/stat`. The name may hold spaces and brackets itself, so
/// the last `)` ends it.
pub(crate) fn parse_stat(stat: &[u8]) -> Option<(String, u64)> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let comm = clean(stat.get(open + 1..close)?, COMM_MAX);
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    // Field 3 is the first after the name.
    let start_time = rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
    Some((comm, start_time))
}

/// The cgroup path out of `/proc/PID/cgroup`, and what it tells: that of a hierarchy that shows a container, else that of the
/// unified one where it says something, else (hybrid hosts leave it at the root) the longest of the others.
///
/// Container runtimes use the hierarchies that they limit resources in. On a hybrid host the unified one may still show the
/// service that started them.
pub(crate) fn parse_cgroup(text: &[u8]) -> Option<(String, Workload)> {
    let mut paths: Vec<_> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.splitn(3, |byte| *byte == b':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let path = clean(path, CGROUP_MAX);
            let workload = Workload::of(&path);
            Some((controllers.is_empty(), path, workload))
        })
        .collect();
    let best = paths.iter().enumerate().max_by_key(|(_, row)| {
        let (unified, path, workload) = row;
        let told = *unified && path != "/";
        (workload.is_contained(), told, path.len())
    });
    let at = best?.0;
    let (_, path, workload) = paths.swap_remove(at);
    Some((path, workload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        let stat = b"42 (a) R 1 (x) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 200 18446744073709551615";
        assert_eq!(parse_stat(stat), Some(("a) R 1 (x".to_owned(), 98765)));
        assert_eq!(parse_stat(b"42 (sleep"), None);
        assert_eq!(parse_stat(b")("), None);
    }

    #[test]
    fn the_unified_path_wins_unless_it_is_the_root() {
        let path = |text: &str| parse_cgroup(text.as_bytes()).map(|(path, _)| path);
        assert_eq!(
            path("1:name=systemd:/user.slice/user-1000.slice\n0::/system.slice/ssh.service\n")
                .as_deref(),
            Some("/system.slice/ssh.service")
        );
        assert_eq!(
            path("4:memory:/jobs/a\n1:cpu:/\n0::/\n").as_deref(),
            Some("/jobs/a")
        );
        assert_eq!(path("0::/\n").as_deref(), Some("/"));
        assert_eq!(path(""), None);
    }

    #[test]
    fn a_container_wins_over_the_service_that_started_it() {
        let id = "0123456789abcdef".repeat(4);
        let text = format!("4:memory:/docker/{id}\n1:cpu:/\n0::/system.slice/docker.service\n");
        let (path, workload) = parse_cgroup(text.as_bytes()).expect("a path");
        assert_eq!(path, format!("/docker/{id}"));
        assert_eq!((workload.container, workload.unit), (Some(id), None));
    }

    #[test]
    fn this_process_is_found() {
        let own = describe(std::process::id()).expect("own process");
        assert!(own.start_time > 0);
        assert!(!own.comm.is_empty());
        assert_eq!(describe(u32::MAX), None);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse_stat(&bytes);
            let _ = parse_cgroup(&bytes);
        }
    }
}
