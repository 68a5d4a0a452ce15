//! Which CPU sends, and which receives.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::command;
use crate::netns::Namespace;

/// Runs work on one CPU; threads that it starts stay there, too.
pub fn on<T>(cpu: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).context("cannot stay on one CPU")?;
    work()
}

/// Runs a whole scenario on one CPU, on a thread of the same name as this one, which stays where it is.
pub fn scenario_on(cpu: usize, scenario: fn() -> Result<()>) -> Result<()> {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let thread = std::thread::Builder::new()
        .name(name)
        .spawn(move || on(cpu, scenario))?;
    thread.join().ok().context("the scenario panicked")?
}

/// A thread on every CPU that does nothing else than to keep it busy; they end when this is dropped.
#[derive(Debug)]
pub struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Busy {
    /// Starts them.
    pub fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let on_cpu = |cpu| {
            let until = Arc::clone(&stop);
            std::thread::spawn(move || {
                on(cpu, || {
                    while !until.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                    Ok(())
                })
            })
        };
        let cpus = std::thread::available_parallelism()?.get();
        let threads = (0..cpus).map(on_cpu).collect();
        Ok(Self { stop, threads })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("a CPU was not kept busy: {error:#}"),
                Err(_) => eprintln!("a busy thread panicked"),
            }
        }
    }
}

/// Time in which somebody waited for a CPU since the machine started (`/proc/pressure/cpu`, `some`); `None` where the kernel does not
/// tell.
pub fn waited_for() -> Result<Option<Duration>> {
    let Ok(text) = fs::read_to_string("/proc/pressure/cpu") else {
        return Ok(None);
    };
    let total = text.lines().find_map(|line| line.strip_prefix("some "));
    let total = total.and_then(|line| line.split_once("total="));
    let (_, total) = total.context("no total of the pressure on CPUs")?;
    Ok(Some(Duration::from_micros(total.trim().parse()?)))
}

/// A configuration for the agent by which no pressure on CPUs is one: where others keep this machine's busy, that would be the root of
/// whatever waits in a scenario that is about something else.
#[derive(Debug)]
pub struct Unpressed {
    file: PathBuf,
}

impl Unpressed {
    /// Writes it.
    pub fn create(host: &Namespace) -> Result<Self> {
        let file = std::env::temp_dir().join(format!("{}-unpressed.toml", host.name()));
        fs::write(&file, "[causes.cpu_starved]\npressure_ratio = 1.0\n")?;
        Ok(Self { file })
    }

    /// The options that name it.
    pub fn options(&self) -> Result<[&str; 2]> {
        let file = self.file.to_str().context("the path is no text")?;
        Ok(["--config", file])
    }
}

impl Drop for Unpressed {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.file) {
            eprintln!("a configuration stays behind: {error}");
        }
    }
}

/// Lets the first CPU receive whatever comes to an interface, whichever CPU sent it.
pub fn receive_on_first(host: &Namespace, interface: &str) -> Result<()> {
    let order = format!(
        "mount -t sysfs none /sys && echo 1 > /sys/class/net/{interface}/queues/rx-0/rps_cpus"
    );
    // The mount is the command's own: sysfs shows the interfaces of the namespace that it was mounted from.
    command::output(
        host.command("unshare")?
            .args(["--mount", "sh", "-c", &order]),
    )
    .map(drop)
}

/// The sum of a column of `/proc/net/softnet_stat` over all CPUs: 1 is drops, 2 squeezes.
pub fn softnet(column: usize) -> Result<u64> {
    let text = fs::read_to_string("/proc/net/softnet_stat")?;
    let of_cpu = |line: &str| {
        let word = line
            .split_whitespace()
            .nth(column)
            .context("a column is gone")?;
        Ok(u64::from_str_radix(word, 16)?)
    };
    text.lines().map(of_cpu).sum()
}
