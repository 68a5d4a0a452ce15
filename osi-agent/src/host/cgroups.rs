//! cgroup ids, as the programs report them, as paths.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};

use super::text::clean;

/// cgroups that are looked at in one search.
const BOUND: usize = 16_384;
/// Longest path, in characters.
const PATH_MAX: usize = 512;

/// The cgroup2 hierarchy by id: the id is the inode of the group's directory.
#[derive(Debug, Default)]
pub struct Cgroups {
    root: Option<PathBuf>,
    paths: HashMap<u64, String>,
    /// The hierarchy was searched for an unknown id in this window already.
    searched: bool,
}

impl Cgroups {
    /// A registry of the hierarchy mounted here.
    pub fn new(root: Option<PathBuf>) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }

    /// A new window: one search is allowed again.
    pub fn next_window(&mut self) {
        self.searched = false;
    }

    /// The path of a group below the hierarchy's root; `None` when it is gone or was never there.
    pub fn path(&mut self, id: u64) -> Option<String> {
        if let Some(path) = self.paths.get(&id) {
            return Some(path.clone());
        }
        if !std::mem::replace(&mut self.searched, true) {
            self.search();
        }
        self.paths.get(&id).cloned()
    }

    fn search(&mut self) {
        let Some(root) = self.root.clone() else {
            return;
        };
        self.paths.clear();
        if let Ok(metadata) = fs::metadata(&root) {
            self.paths.insert(
                std::os::unix::fs::MetadataExt::ino(&metadata),
                "/".to_owned(),
            );
        }
        let mut waiting = vec![root.clone()];
        while let Some(directory) = waiting.pop() {
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries.flatten() {
                if self.paths.len() >= BOUND {
                    return;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let path = entry.path();
                    self.paths.insert(entry.ino(), shown(&root, &path));
                    waiting.push(path);
                }
            }
        }
    }
}

fn shown(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    format!(
        "/{}",
        clean(relative.as_os_str().as_encoded_bytes(), PATH_MAX)
    )
}
