//! Whose namespace one without a name is: that of the container or pod which its processes are in.

use std::collections::{BTreeSet, HashMap};

use rustix::fs::readlinkat;

use super::parse_link;
use crate::host::processes;
use crate::host::workload::Workload;

/// Processes of a namespace that are looked at, lowest ids first.
pub(super) const LOOKED_AT: usize = 16;

/// What the processes that were looked at run in; a process is asked once.
#[derive(Debug, Default)]
pub(super) struct Inhabitants {
    known: HashMap<u32, Workload>,
    /// Of the search before.
    before: HashMap<u32, Workload>,
}

impl Inhabitants {
    /// A new search: who is not met in it is forgotten at the next.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.known);
    }

    /// What all of these processes of a namespace run in; nothing where they do not agree.
    pub(super) fn of(&mut self, inode: u32, pids: &BTreeSet<u32>) -> Workload {
        let mut found = Vec::with_capacity(pids.len());
        for pid in pids {
            let known = self.before.remove(pid);
            // One that ended meanwhile, or moved, tells nothing.
            if let Some(workload) = known.or_else(|| read(*pid, inode)) {
                self.known.insert(*pid, workload.clone());
                found.push(workload);
            }
        }
        common(&found)
    }
}

/// What a process runs in, while it is in the namespace.
fn read(pid: u32, inode: u32) -> Option<Workload> {
    let process = processes::open(pid).ok()?;
    let link = readlinkat(&process, "ns/net", Vec::new()).ok()?;
    let is_here = parse_link(link.to_bytes()) == Some(inode);
    is_here.then(|| Some(processes::describe_in(pid, &process)?.workload))?
}

/// As far as all are the same: the containers of a pod share its namespace.
fn common(all: &[Workload]) -> Workload {
    let mut rest = all.iter();
    let mut common = rest.next().cloned().unwrap_or_default();
    for other in rest {
        let Workload {
            container,
            pod_uid,
            unit,
        } = other;
        for (ours, theirs) in [
            (&mut common.container, container),
            (&mut common.pod_uid, pod_uid),
            (&mut common.unit, unit),
        ] {
            if ours != theirs {
                *ours = None;
            }
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(paths: &[&str]) -> Option<String> {
        let id = |digit: &str| digit.repeat(64);
        let all: Vec<_> = paths
            .iter()
            .map(|path| Workload::of(&path.replace("ID1", &id("1")).replace("ID2", &id("2"))))
            .collect();
        common(&all).words()
    }

    #[test]
    fn a_namespace_is_whose_all_processes_are_in() {
        let one = "/docker/ID1";
        assert_eq!(
            words(&[one, one]).as_deref(),
            Some("container 111111111111")
        );
        assert_eq!(words(&[one, "/docker/ID2"]), None);
        assert_eq!(
            words(&[one, "/user.slice"]),
            None,
            "somebody else is in it, too"
        );
        assert_eq!(words(&["/user.slice", one]), None);
        assert_eq!(words(&[]), None);
        let service = "/system.slice/web.service";
        assert_eq!(words(&[service, service]).as_deref(), Some("web.service"));
    }

    #[test]
    fn the_containers_of_a_pod_share_its_namespace() {
        let uid = "0b6f2c1a-8d3e-4f5a-9b7c-1d2e3f4a5b6c";
        let of = |id: &str| format!("/kubepods/besteffort/pod{uid}/{id}");
        let shared = words(&[&of("ID1"), &of("ID2")]);
        assert_eq!(shared, Some(format!("pod {uid}")));
    }

    #[test]
    fn a_process_is_asked_once_and_only_where_it_is() {
        let pid = std::process::id();
        let own = rustix::fs::readlinkat(rustix::fs::CWD, "/proc/self/ns/net", Vec::new());
        let inode = parse_link(own.expect("link").to_bytes()).expect("inode");
        let pids = BTreeSet::from([pid, u32::MAX]);
        let mut inhabitants = Inhabitants::default();
        inhabitants.of(inode + 1, &pids);
        assert!(inhabitants.known.is_empty(), "it is in another namespace");
        inhabitants.begin();
        let workload = inhabitants.of(inode, &pids);
        assert_eq!(inhabitants.known, HashMap::from([(pid, workload.clone())]));
        inhabitants.begin();
        assert_eq!(
            inhabitants.of(inode + 1, &pids),
            workload,
            "known from before"
        );
        inhabitants.begin();
        inhabitants.begin();
        assert!(inhabitants.before.is_empty(), "forgotten");
    }
}
