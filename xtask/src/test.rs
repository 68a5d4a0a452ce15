//! `cargo xtask test`: every test that this machine can run, and a count of those it cannot.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

use self::skips::Skip;
use self::summary::Summary;
use crate::host::Root;
use crate::setup::{self, Purpose};
use crate::{build, sh};

pub(crate) mod complaint;
mod hidden;
pub(crate) mod skips;
mod summary;

/// How often a scenario is repeated of which the kernel hid something from all tracing programs.
const REPEATS: usize = 2;

/// The package with the scenarios; they build hosts out of network namespaces, which takes root.
const SCENARIOS: &str = "osi-tests";

/// Run all tests: the host tests without privilege, then the scenarios as root.
///
/// Scenarios run as root, directly or through passwordless sudo, against the release agent.
/// Without either they are counted as skipped, each by name.
/// A scenario that failed is repeated, at most twice, where the kernel hid from every tracing program what it rests on.
/// The last line is `N passed, N failed, N skipped`; the exit code is 1 when anything failed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose path contains this
    name: Option<String>,
    /// How many scenarios run or wait for their turn; four at most share the machine, and those that want it alone wait for four
    #[arg(long, env = "OSI_TEST_THREADS", default_value_t = 8)]
    threads: u16,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(Purpose::Test)?;
    let agent = build::agent()?;
    let mut summary = Summary::default();
    host_tests(args, &mut summary)?;
    match Root::find() {
        root @ (Root::Already | Root::Sudo) => scenarios(args, root, agent, &mut summary)?,
        Root::SudoAsks | Root::None => list_as_skipped(args, &mut summary)?,
    }
    summary.print();
    Ok(if summary.failed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn host_tests(args: &Args, summary: &mut Summary) -> Result<()> {
    let mut cargo = sh::cargo();
    // The eBPF crate builds for the BPF target only; its logic is tested in osi-common.
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo.args(["--exclude", "osi-ebpf", "--exclude", SCENARIOS]);
    cargo.args(&args.name);
    count(&mut cargo, summary)
}

fn scenarios(args: &Args, root: Root, agent: PathBuf, summary: &mut Summary) -> Result<()> {
    let skip_log = sh::target_dir().join("osi-skipped.log");
    let hidden_log = sh::target_dir().join("osi-hidden.log");
    // Created here, so that they stay ours when the scenarios run through sudo.
    for log in [&skip_log, &hidden_log] {
        fs::write(log, "").with_context(|| format!("cannot write {}", log.display()))?;
    }
    let environment = [
        ("OSI_AGENT", agent.into_os_string()),
        ("OSI_SKIP_LOG", skip_log.clone().into_os_string()),
        ("OSI_HIDDEN_LOG", hidden_log.clone().into_os_string()),
        ("PATH", sh::search_path()),
    ];
    let mut tests = vec![format!("--test-threads={}", args.threads)];
    tests.extend(args.name.clone());
    count(&mut scenarios_as(root, &environment, &tests), summary)?;
    for _ in 0..REPEATS {
        let hidden = hidden::parse(&fs::read_to_string(&hidden_log)?);
        let again = summary.repeat(&hidden);
        if again.is_empty() {
            break;
        }
        fs::write(&hidden_log, "")?;
        tests.truncate(1);
        tests.push("--exact".to_owned());
        tests.extend(again);
        count(&mut scenarios_as(root, &environment, &tests), summary)?;
    }
    summary.skip(skips::parse(&fs::read_to_string(&skip_log)?));
    Ok(())
}

/// The command that runs scenarios with arguments of the test program's own.
fn scenarios_as(root: Root, environment: &[(&str, OsString)], tests: &[String]) -> Command {
    let mut cargo = sh::cargo();
    cargo.args(["test", "--package", SCENARIOS, "--tests", "--no-fail-fast"]);
    if root != Root::Already {
        // Cargo builds as the caller and only the test programs run as root; sudo drops the
        // environment, so it travels as arguments of `env`.
        let words = root
            .prefix()
            .iter()
            .map(|word| (*word).to_owned())
            .chain(["env".to_owned()])
            .chain(
                environment
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.to_string_lossy())),
            );
        let runner: Vec<_> = words.map(|word| format!("{word:?}")).collect();
        let setting = format!("target.'cfg(unix)'.runner=[{}]", runner.join(","));
        cargo.arg("--config").arg(setting);
    }
    cargo.envs(environment.iter().map(|(name, value)| (name, value)));
    cargo.arg("--").args(tests);
    cargo
}

fn list_as_skipped(args: &Args, summary: &mut Summary) -> Result<()> {
    let mut cargo = sh::cargo();
    cargo.args(["test", "--package", SCENARIOS, "--tests", "--"]);
    cargo.args(["--list", "--format", "terse"]).args(&args.name);
    let listed = sh::output(&mut cargo)?;
    let reason =
        "takes root; there is no passwordless sudo here, so run as root or after `sudo -v`";
    summary.never_ran(
        listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(|test| Skip {
                test: test.to_owned(),
                reason: reason.to_owned(),
            }),
    );
    Ok(())
}

/// Runs tests, shows their output as it comes, and adds their results.
fn count(cargo: &mut Command, summary: &mut Summary) -> Result<()> {
    eprintln!("$ {}", sh::line(cargo));
    let failed_before = summary.failed();
    let mut child = cargo.stdout(Stdio::piped()).spawn()?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            summary.read(&line);
        }
    }
    let status = child.wait()?;
    if !status.success() && summary.failed() == failed_before {
        summary.broken(format!("`{}` ended with {status}", sh::line(cargo)));
    }
    Ok(())
}
