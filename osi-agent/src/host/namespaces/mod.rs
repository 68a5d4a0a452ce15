//! The network namespaces of the host, each with its identity and a way in.
//!
//! Identity is inode and cookie: the kernel gives the inode of a deleted namespace to the next one at once. A namespace is
//! opened only while something is read in it, so that the agent keeps none alive.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::processes::pids;
use super::text::clean;
use super::workload::Workload;
use crate::scope::Netns;
use crate::snapshot::host::enter::{Home, Visit, cookie};

mod inhabitants;

mod resolve;

use inhabitants::{Inhabitants, LOOKED_AT};
pub use resolve::resolve;

/// Where `ip netns` mounts namespaces.
const NAMED: &str = "/run/netns";

/// The namespace of the agent; the main thread never leaves it.
const OWN: &str = "/proc/self/ns/net";

/// Name of the agent's own namespace in outputs.
const HOST: &str = "host";

/// Namespaces that are watched at most; the own one and those with names come first.
pub const BOUND: usize = 256;

/// `/proc` is searched for namespaces without a name in every so many refreshes: it costs a link per process.
const SEARCH_EVERY: u32 = 5;

/// Longest namespace name, in characters.
const NAME_MAX: usize = 128;

/// What `--netns` asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum NetnsScope {
    /// Every namespace of the host.
    All,
    /// One only.
    One(Handle),
}

/// A network namespace and the way into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// Which.
    pub netns: Netns,
    /// File to open for `setns()`: a mount under /run/netns or a `/proc/PID/ns/net`.
    pub path: PathBuf,
}

/// The agent's own namespace.
///
/// # Errors
/// When `/proc` does not show it.
pub fn own() -> io::Result<Handle> {
    let inode = fs::metadata(OWN)?.ino() as u32;
    // The calling thread is in it, unless a sampler thread asks, and that is a mistake the inode would show.
    let cookie = if Home::here()?.inode() == inode {
        cookie()?
    } else {
        0
    };
    Ok(Handle {
        netns: Netns {
            inode,
            cookie,
            name: Some(HOST.to_owned()),
            ..Netns::default()
        },
        path: OWN.into(),
    })
}

/// Namespaces with a name, in the order of names; `device` is that of the filesystem they must be in.
fn named(device: Option<u64>) -> impl Iterator<Item = (OsString, u32)> {
    let entries: BTreeMap<OsString, u32> = fs::read_dir(NAMED)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let file = fs::metadata(entry.path()).ok()?;
            let is_namespace = device.is_none_or(|device| device == file.dev());
            is_namespace.then(|| (entry.file_name(), file.ino() as u32))
        })
        .collect();
    entries.into_iter()
}

/// The inode in `net:[4026531840]`, the target of `/proc/PID/ns/net`.
pub(crate) fn parse_link(target: &[u8]) -> Option<u32> {
    std::str::from_utf8(target)
        .ok()?
        .strip_prefix("net:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// Whether a process is in the agent's own namespace, as far as can be told without seeing its link: the files of
/// `/proc/PID/net`, which need no privilege, have inodes of their own in each namespace.
fn shares_own(pid: u32) -> bool {
    let inode = |process: &str| {
        fs::metadata(format!("/proc/{process}/net/dev"))
            .map(|file| file.ino())
            .ok()
    };
    let theirs = inode(&pid.to_string());
    theirs.is_some() && theirs == inode("self")
}

/// Cookies of namespaces, in their order: `None` for one that is gone. A thread of its own goes there, so that the caller
/// stays where it is whatever happens.
fn cookies(handles: &[Handle]) -> Vec<io::Result<Option<u64>>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("osi-netns".to_owned())
            .spawn_scoped(scope, || {
                let Ok(home) = Home::here() else {
                    return Vec::new();
                };
                let mut found = Vec::with_capacity(handles.len());
                for handle in handles {
                    match home.visit(handle, cookie) {
                        Ok(Visit::Done(cookie)) => found.push(cookie.map(Some)),
                        Ok(Visit::Gone) => found.push(Ok(None)),
                        Ok(Visit::Refused(error)) => found.push(Err(error)),
                        // This thread ends here, somewhere; the rest stays unknown for this time.
                        Err(_) => break,
                    }
                }
                found
            });
        thread
            .ok()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    })
}

/// The namespaces in scope, refreshed before each pass.
#[derive(Debug)]
pub struct Registry {
    scope: NetnsScope,
    own: Handle,
    /// Device number of the filesystem that namespaces live in.
    device: u64,
    handles: Vec<Handle>,
    /// Namespaces of processes, as the last search of `/proc` found them: inode and lowest process ids.
    peopled: BTreeMap<u32, BTreeSet<u32>>,
    /// What runs in those that have no name.
    workloads: HashMap<u32, Workload>,
    inhabitants: Inhabitants,
    until_search: u32,
    omitted: usize,
    unreadable: usize,
}

impl Registry {
    /// A registry that knows only the agent's own namespace until it is refreshed.
    pub fn new(scope: NetnsScope) -> io::Result<Self> {
        let own = own()?;
        let device = fs::metadata(OWN)?.dev();
        Ok(Self {
            scope,
            own,
            device,
            handles: Vec::new(),
            peopled: BTreeMap::new(),
            workloads: HashMap::new(),
            inhabitants: Inhabitants::default(),
            until_search: 0,
            omitted: 0,
            unreadable: 0,
        })
    }

    /// The agent's own namespace, whether it is in scope or not.
    pub const fn own(&self) -> &Handle {
        &self.own
    }

    /// Looks which namespaces in scope exist now. A namespace in a known inode keeps its identity unless it was
    /// [forgotten](Self::forget).
    pub fn refresh(&mut self) -> &[Handle] {
        let candidates = match &self.scope {
            NetnsScope::One(handle) => {
                let exists = fs::metadata(&handle.path)
                    .is_ok_and(|file| file.ino() as u32 == handle.netns.inode);
                self.handles.clear();
                self.handles.extend(exists.then(|| handle.clone()));
                return &self.handles;
            }
            NetnsScope::All => self.candidates(),
        };
        let known: HashMap<u32, u64> = self
            .handles
            .iter()
            .map(|handle| (handle.netns.inode, handle.netns.cookie))
            .collect();
        let (mut kept, mut new) = (Vec::new(), Vec::new());
        for mut handle in candidates {
            if handle.netns.inode == self.own.netns.inode {
                kept.push(handle);
            } else if let Some(cookie) = known.get(&handle.netns.inode) {
                handle.netns.cookie = *cookie;
                kept.push(handle);
            } else {
                new.push(handle);
            }
        }
        let found = if new.is_empty() {
            Vec::new()
        } else {
            cookies(&new)
        };
        for (mut handle, cookie) in new.into_iter().zip(found) {
            match cookie {
                Ok(Some(cookie)) => handle.netns.cookie = cookie,
                Ok(None) => continue,
                // It exists, and reading it will tell why that cannot be done.
                Err(_) => {}
            }
            kept.push(handle);
        }
        self.handles = kept;
        &self.handles
    }

    /// The namespaces of the last refresh.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// What was found in a namespace's inode is gone or another: its identity is asked anew, and `/proc` searched again.
    pub fn forget(&mut self, netns: &Netns) {
        self.handles.retain(|handle| handle.netns != *netns);
        self.until_search = 0;
    }

    /// Namespaces beyond the bound in the last refresh.
    pub const fn omitted(&self) -> usize {
        self.omitted
    }

    /// Processes whose namespace the agent may not see, in the last search: namespaces of theirs may be missing.
    pub const fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Every namespace of the host, cookies not known yet: the own one, those with names, those of processes.
    fn candidates(&mut self) -> Vec<Handle> {
        if self.until_search == 0 {
            self.search();
            self.until_search = SEARCH_EVERY;
        }
        self.until_search -= 1;

        let mut found = vec![self.own.clone()];
        let mut seen = std::collections::HashSet::from([self.own.netns.inode]);
        let handle = |inode, name, path| Handle {
            netns: Netns {
                inode,
                cookie: 0,
                name,
                ..Netns::default()
            },
            path,
        };
        for (name, inode) in named(Some(self.device)) {
            if seen.insert(inode) {
                let shown = clean(name.as_bytes(), NAME_MAX);
                found.push(handle(inode, Some(shown), Path::new(NAMED).join(name)));
            }
        }
        for (inode, pids) in &self.peopled {
            if let Some(pid) = pids.first().filter(|_| seen.insert(*inode)) {
                let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
                let mut nameless = handle(*inode, None, path);
                let workload = self.workloads.get(inode).cloned();
                nameless.netns.workload = workload.unwrap_or_default();
                found.push(nameless);
            }
        }
        self.omitted = found.len().saturating_sub(BOUND);
        found.truncate(BOUND);
        found
    }

    /// Reads the namespace link of every process; the lowest process of each namespace stands for it.
    fn search(&mut self) {
        self.peopled.clear();
        self.unreadable = 0;
        for pid in pids() {
            match rustix::fs::readlinkat(rustix::fs::CWD, format!("/proc/{pid}/ns/net"), Vec::new())
            {
                Ok(target) => {
                    let target = OsString::from_vec(target.into_bytes());
                    if let Some(inode) = parse_link(target.as_bytes()) {
                        let lowest = self.peopled.entry(inode).or_default();
                        lowest.insert(pid);
                        if lowest.len() > LOOKED_AT {
                            lowest.pop_last();
                        }
                    }
                }
                Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => {
                    self.unreadable += usize::from(!shares_own(pid));
                }
                Err(_) => {}
            }
        }
        let mut with_name: BTreeSet<u32> = named(Some(self.device)).map(|row| row.1).collect();
        with_name.insert(self.own.netns.inode);
        self.inhabitants.begin();
        self.workloads = self
            .peopled
            .iter()
            .filter(|(inode, _)| !with_name.contains(inode))
            .map(|(inode, pids)| (*inode, self.inhabitants.of(*inode, pids)))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_inodes() {
        assert_eq!(parse_link(b"net:[4026531840]"), Some(4_026_531_840));
        assert_eq!(parse_link(b"mnt:[4026531840]"), None);
        assert_eq!(parse_link(b"net:[x]"), None);
    }

    #[test]
    fn the_own_namespace_is_always_there() {
        let mut registry = Registry::new(NetnsScope::All).expect("registry");
        let own = registry.own().netns.clone();
        let first = registry
            .refresh()
            .first()
            .expect("own namespace")
            .netns
            .clone();
        assert_eq!((first.name.as_deref(), &first), (Some("host"), &own));
        let NetnsScope::One(current) = resolve("current").expect("current") else {
            panic!("not one")
        };
        assert_eq!(current.netns, own);
    }
}
