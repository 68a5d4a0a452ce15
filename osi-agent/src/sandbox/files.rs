//! Landlock: which files can still be opened.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError,
};

/// Rights of this version and older ones are taken away, as far as the kernel knows them.
const KNOWN: ABI = ABI::V5;
/// The screen's own terminal, which its library opens by this name.
const TERMINAL: &str = "/dev/tty";

/// Lets the calling thread, and those that it starts, read below these folders, use the terminal, and nothing else: no other
/// file, no writing, no running of programs, no TCP.
///
/// # Errors
/// What the kernel refused. It is no error where the kernel has no Landlock.
pub(super) fn only_read(folders: &[&str], more: Option<&Path>) -> io::Result<()> {
    restrict(folders.iter().map(Path::new).chain(more)).map_err(io::Error::other)
}

fn restrict<'a>(folders: impl Iterator<Item = &'a Path>) -> Result<(), RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .create()?;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let using = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let allowed = folders
        .map(|folder| (folder, reading))
        .chain([(Path::new(TERMINAL), using)]);
    for (path, access) in allowed {
        // What is not there needs no rule.
        if let Ok(file) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(file, access))?;
        }
    }
    rules.restrict_self()?;
    Ok(())
}
