//! What the two processes of a run may do, and when they give up the rest.
//!
//! The order is a contract (`docs/adr/0011-privileges.md`):
//! 1. [`begin`]: capabilities that nothing here uses are given up for good, before anything is read.
//! 2. The helper is started. It confines itself before it reads anything.
//! 3. The watcher reads the kernel's types and symbols, loads its programs and attaches them.
//! 4. The watcher confines itself, before the first window.
//!
//! What is given up is never got back: no new privileges, a narrowed bounding set, a filter that cannot be taken off.

use std::io;
use std::path::Path;
use std::sync::mpsc::channel;

mod capabilities;

mod files;

mod system_calls;

pub use capabilities::begin;

/// A process of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds programs and maps, judges, and shows.
    Watcher,
    /// Reads the host's interfaces, in every network namespace.
    Helper,
}

/// Confines the watcher: the calling thread, threads that it starts, and, for system calls, those that run already.
///
/// `elsewhere` says that interfaces of another network namespace are to get programs while it runs. That takes entering it:
/// one capability more, and no Landlock, which hides the namespaces of other processes.
/// `cgroups` is the hierarchy whose paths events name.
///
/// # Errors
/// What the kernel refused. Landlock is left out where the kernel has none (before 5.13, or not among its security modules).
pub fn watcher(elsewhere: bool, cgroups: Option<&Path>) -> io::Result<()> {
    capabilities::keep(Role::Watcher, elsewhere)?;
    if !elsewhere {
        files::only_read(&["/proc", "/sys"], cgroups)?;
    }
    system_calls::filter(Role::Watcher, elsewhere)
}

/// Confines the helper, before it starts a thread. It reads links of other processes, and Landlock would hide them.
///
/// # Errors
/// What the kernel refused.
pub fn helper() -> io::Result<()> {
    capabilities::keep(Role::Helper, true)?;
    system_calls::filter(Role::Helper, true)
}

/// Starts a thread of the watcher before that is confined, which gives up everything first: it needs no privilege.
///
/// # Errors
/// What the kernel refused.
pub fn idle_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (confined, outcome) = channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let done = capabilities::none().and_then(|()| files::only_read(&[], None));
            let goes_on = done.is_ok();
            if confined.send(done).is_ok() && goes_on {
                work();
            }
        })
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start a thread: {error}")))?;
    outcome
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))
}
