//! `cargo xtask vm`: the scenarios on kernels that this machine does not run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::guest::{Accelerator, How};
use self::image::Job;
use self::kernel::Kernel;
use self::packages::Packages;
use self::programs::Programs;
use self::series::{Named, Series};
use self::table::Column;
use crate::architecture::{self, Architecture};
use crate::setup::{self, Purpose};
use crate::sh;

mod chosen;
mod cpio;
mod guest;
mod image;
mod kernel;
mod outcome;
mod packages;
mod programs;
mod series;
mod table;
mod tools;

/// Boot other kernels in QEMU and run the scenarios on them: 5.10, 6.1 and the newest 7.x, unless others are named.
///
/// Kernels and tools are Debian's, from the mirror that this machine uses, and are kept in $OSI_VM_CACHE (else below
/// $XDG_CACHE_HOME).
/// Needs no root, only what `cargo xtask setup --for vm` installs.
/// Each guest's console is kept under target/vm.
/// The last lines are the tables kernel by probe and kernel by scenario.
/// The exit code is 1 when any cell failed, and 3 when no kernel can be tried on this machine.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernel series, such as 6.12
    series: Vec<Named>,
    /// Which machine they are for; another than this one needs `cargo xtask setup --for foreign`
    #[arg(long, value_name = "NAME", default_value = std::env::consts::ARCH)]
    architecture: architecture::Named,
    /// Every series that there is
    #[arg(long, conflicts_with = "series")]
    all: bool,
    /// Only scenarios whose path contains this; may be repeated
    #[arg(long, value_name = "PART")]
    scenario: Vec<String>,
    /// Only one scenario of each thing that differs from kernel to kernel
    #[arg(long, conflicts_with = "scenario")]
    quick: bool,
    /// How many scenarios run or wait for their turn in each guest, at least two: with one, the test program writes names and results
    /// apart
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..))]
    threads: u16,
    /// How many guests run at a time; three on two cores, when they are emulated
    #[arg(long)]
    guests: Option<usize>,
    /// After how many minutes a guest is ended; what it has not done by then has failed
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    budget: u64,
}

/// No kernel can be tried here: no package mirror, no emulator.
const CANNOT: u8 = 3;

/// What has to be had from elsewhere.
struct Parts {
    kernels: Vec<(&'static Series, Result<Kernel>)>,
    tools: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let architecture = args.architecture.0;
    let Parts { kernels, tools } = match parts(args) {
        Ok(parts) => parts,
        Err(error) => {
            eprintln!("vm: no kernel can be tried here: {error:#}");
            return Ok(ExitCode::from(CANNOT));
        }
    };
    let logs = sh::target_dir().join("vm");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let programs = Programs::build(architecture)?;
    let chosen = chosen::words(args.quick, &args.scenario);
    let base = image::build(&programs, &tools)?;
    let accelerator = accelerator(architecture, &kernels, &base, &logs)?;
    let instructions = image::instructions(&Job {
        scenarios: &chosen,
        threads: args.threads,
        time_scale: match accelerator {
            Accelerator::Kvm => 1,
            Accelerator::Tcg => EMULATION_SCALE,
        },
    });
    let began = Instant::now();
    let columns = guests(args, accelerator, kernels, |series, kernel, gives_way| {
        let file_system = guest::file_system(&logs, &[&base, &instructions], kernel)?;
        let log = logs.join(format!("{}-{}.log", series.name, architecture.name));
        let how = How {
            architecture,
            accelerator,
            gives_way,
        };
        let budget = Duration::from_mins(args.budget);
        let ended = guest::run(how, kernel, &file_system, &log, budget, |line| {
            if line.starts_with("test ") && !line.contains("has been running") {
                println!("{:<6} {line}", series.name);
            }
        })?;
        fs::remove_file(&file_system)?;
        let expected = chosen::expected(args.quick);
        Ok(column(series, accelerator, expected, &ended, &log))
    });
    println!(
        "\n{}\nvm: {} kernels in {} s",
        table::render(&columns),
        columns.len(),
        began.elapsed().as_secs()
    );
    Ok(if table::has_failed(&columns) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Downloads and unpacks what is not there yet.
fn parts(args: &Args) -> Result<Parts> {
    let architecture = args.architecture.0;
    setup::ensure(if architecture.is_native() {
        Purpose::Vm
    } else {
        Purpose::Foreign
    })?;
    let series = series::chosen(&args.series, args.all);
    let cache = cache()?.join(architecture.debian);
    let packages = Packages::open(&cache, architecture, &series)?;
    let kernels: Vec<(&Series, Result<Kernel>)> = series
        .into_iter()
        .map(|series| {
            let kernel = packages
                .fetch(series)
                .and_then(|downloaded| Kernel::unpack(&cache, &downloaded));
            (series, kernel)
        })
        .collect();
    if kernels.iter().all(|(_, kernel)| kernel.is_err()) {
        let reasons: Vec<_> = kernels
            .iter()
            .filter_map(|(series, kernel)| {
                Some(format!("{}: {:#}", series.name, kernel.as_ref().err()?))
            })
            .collect();
        bail!("{}", reasons.join("; "));
    }
    let tools = tools::unpack(&cache, &packages.tools()?)?;
    Ok(Parts { kernels, tools })
}

/// How many times longer than on a machine things may take when they are emulated on a busy one.
const EMULATION_SCALE: u32 = 4;
/// Lines of the console that are shown of a guest that did not come to its end.
const LAST_LINES: usize = 30;

fn cache() -> Result<PathBuf> {
    if let Some(path) = env::var_os("OSI_VM_CACHE") {
        return Ok(PathBuf::from(path));
    }
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .map(|cache| cache.join("osi-agent/vm"))
        .context("no home directory to keep kernels in; name a directory in OSI_VM_CACHE")
}

fn accelerator(
    architecture: &'static Architecture,
    kernels: &[(&Series, Result<Kernel>)],
    base: &[u8],
    logs: &Path,
) -> Result<Accelerator> {
    let kernel = kernels
        .iter()
        .find_map(|(_, kernel)| kernel.as_ref().ok())
        .context("there is no kernel to try")?;
    let file_system = guest::file_system(logs, &[base], kernel)?;
    let accelerator = guest::accelerator(architecture, kernel, &file_system, &logs.join("kvm.log"));
    fs::remove_file(&file_system)?;
    Ok(accelerator)
}

/// Runs all guests, some at a time, and returns their columns in order. `run` is told whether a guest gives way to the others.
fn guests(
    args: &Args,
    accelerator: Accelerator,
    kernels: Vec<(&'static Series, Result<Kernel>)>,
    run: impl Fn(&Series, &Kernel, bool) -> Result<Column> + Sync,
) -> Vec<Column> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = args.guests.unwrap_or(match accelerator {
        Accelerator::Kvm => cores / 2,
        // An emulated guest computes on one core, for two fifths of its time: the rest is waiting for windows.
        Accelerator::Tcg => cores + cores / 2,
    });
    let count = kernels.len();
    // The newest kernel begins and has the CPUs first: it takes longest, and while it waits for one its servers look slow.
    let waiting = Mutex::new(kernels.into_iter().enumerate().collect::<Vec<_>>());
    let done = Mutex::new(Vec::with_capacity(count));
    let take = || waiting.lock().ok()?.pop();
    thread::scope(|scope| {
        for _ in 0..workers.clamp(1, count) {
            scope.spawn(|| {
                while let Some((place, (series, kernel))) = take() {
                    let unavailable = |error: &anyhow::Error| Column {
                        name: series.name.to_owned(),
                        note: format!("unavailable: {error:#}"),
                        outcome: None,
                    };
                    let column = match &kernel {
                        Ok(kernel) => run(series, kernel, place + 1 < count)
                            .unwrap_or_else(|error| unavailable(&error)),
                        Err(error) => unavailable(error),
                    };
                    if let Ok(mut done) = done.lock() {
                        done.push((place, column));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, column)| column).collect()
}

fn column(
    series: &Series,
    accelerator: Accelerator,
    expected: &[&str],
    ended: &guest::Ended,
    log: &Path,
) -> Column {
    let how = ended
        .cut
        .clone()
        .unwrap_or_else(|| "the guest stopped".to_owned());
    let outcome = outcome::read(&ended.lines, expected, &how);
    if outcome.finished && outcome.scenarios.is_empty() {
        eprintln!("vm: no scenario's path contains that; without --scenario all run");
    }
    if !outcome.finished {
        let from = ended.lines.len().saturating_sub(LAST_LINES);
        eprintln!(
            "vm: {} did not come to its end ({how}); its last lines:",
            series.name
        );
        for line in &ended.lines[from..] {
            eprintln!("vm: {}: {line}", series.name);
        }
    }
    let kernel = outcome.kernel.as_deref().unwrap_or("no kernel came up");
    Column {
        name: series.name.to_owned(),
        note: format!(
            "{kernel}, {} in {} s, console in {}",
            match accelerator {
                Accelerator::Kvm => "by KVM",
                Accelerator::Tcg => "emulated",
            },
            ended.took.as_secs(),
            log.display()
        ),
        outcome: Some(outcome),
    }
}
