//! One host of the lab: a named network namespace, removed when it is dropped.
//!
//! Names are `osi-<pid>-<n>-<role>`, so that parallel test processes never meet and what a killed one left behind is recognised.
//! Nothing goes through `ip netns exec`, which remounts /sys: threads and children enter by setns(2).

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command;

const DIRECTORY: &str = "/run/netns";
/// What the names of all that this lab makes begin with; the process id follows.
pub(crate) const PREFIX: &str = "osi-";

static NEXT: AtomicU32 = AtomicU32::new(0);
/// `ip netns add` sets up a shared mount the first time; two at once may trip over each other.
static CREATION: Mutex<()> = Mutex::new(());

/// A network namespace of this test process.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes an empty host with `lo` up.
    pub fn create(role: &str) -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        let guard = lock_creation();
        command::output(Command::new("ip").args(["netns", "add", &name]))
            .context("cannot make a network namespace")?;
        drop(guard);
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name under /run/netns, as `--netns` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// `ip -n NAME ARGS`.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        command::output(Command::new("ip").args(["-n", &self.name]).args(args))
    }

    /// A command that will run inside the namespace.
    pub fn command(&self, program: &str) -> Result<Command> {
        let file = self.open()?;
        let mut command = Command::new(program);
        let enter = move || Ok(enter(&file)?);
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(enter) };
        Ok(command)
    }

    /// Runs `work` on a thread inside the namespace and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = self.open()?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&file).context("cannot enter the namespace")?;
                work()
            });
            joined(inside.join())
        })
        .with_context(|| format!("inside {}", self.name))
    }

    /// Runs `work` on a thread inside the namespace, beside the caller.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Task<T>> {
        let file = self.open()?;
        let thread = std::thread::Builder::new()
            .name("osi-lab".to_owned())
            .spawn(move || {
                enter(&file).context("cannot enter the namespace")?;
                drop(file);
                work()
            })?;
        Ok(Task { thread })
    }

    /// Writes a sysctl of this namespace, such as `net/ipv4/ip_forward`.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.run(|| {
            std::fs::write(&path, value)
                .with_context(|| format!("cannot write {value} to {}", path.display()))
        })
    }

    /// Gives out so many local ports, from 40000 on, to whoever wants any.
    pub fn give_out_ports(&self, count: u64) -> Result<()> {
        let last = 40_000 + count - 1;
        self.set_sysctl("net/ipv4/ip_local_port_range", &format!("40000 {last}"))
    }

    fn open(&self) -> Result<File> {
        let path = self.path();
        File::open(&path).with_context(|| format!("cannot open {}", path.display()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("the namespace {} stays behind: {error:#}", self.name);
        }
    }
}

/// Work that runs in a namespace beside the test.
#[derive(Debug)]
pub struct Task<T> {
    thread: JoinHandle<Result<T>>,
}

impl<T> Task<T> {
    /// Waits for the work and returns what it came to.
    pub fn join(self) -> Result<T> {
        joined(self.thread.join())
    }

    /// Whether the work has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Removes the namespaces of test processes that are no longer alive.
pub fn sweep() -> Result<()> {
    let guard = lock_creation();
    let entries = match std::fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("cannot list /run/netns"),
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_left_behind(&name) {
            remove(&name)?;
        }
    }
    drop(guard);
    Ok(())
}

/// Whether a test process that is no longer alive made what has this name.
pub(crate) fn is_left_behind(name: &str) -> bool {
    let owner =
        |name: &str| -> Option<u32> { name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok() };
    owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

fn remove(name: &str) -> Result<()> {
    command::output(Command::new("ip").args(["netns", "del", name])).map(drop)
}

fn enter(file: &File) -> rustix::io::Result<()> {
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
}

fn joined<T>(outcome: std::thread::Result<Result<T>>) -> Result<T> {
    outcome.map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        anyhow!(
            "work in a namespace panicked: {}",
            text.unwrap_or("no message")
        )
    })?
}

/// A panic elsewhere leaves the lock poisoned; it guards no data.
fn lock_creation() -> MutexGuard<'static, ()> {
    CREATION.lock().unwrap_or_else(PoisonError::into_inner)
}
