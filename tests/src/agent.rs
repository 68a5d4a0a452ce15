//! The agent under test: started from the host, limited to one namespace, its stream read, parsed and validated line by line.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::netns::Namespace;
use crate::stream::{self, Line};
use crate::{processes, report, scale, transcript, wait};

use self::heard::{Heard, OUTPUTS};

mod heard;
mod hello;
mod start;

/// The sampling interval of every scenario.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Loading and attaching everything, on a busy machine.
const START: Duration = Duration::from_secs(30);
/// Detaching everything and saying goodbye.
const STOP: Duration = Duration::from_secs(10);

/// A running `osi-agent watch --json`.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    heard: Arc<Heard>,
    readers: Vec<JoinHandle<()>>,
}

/// A program that ran to its end.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Ended {
    /// The exit code as a shell shows it: 128 + n for a signal.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .or_else(|| self.status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1)
    }
}

/// The binary: `OSI_AGENT`, else the workspace's release build.
pub fn binary() -> Result<PathBuf> {
    let path = std::env::var_os("OSI_AGENT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/osi-agent"),
        PathBuf::from,
    );
    ensure!(
        path.is_file(),
        "there is no agent at {}: build it with `cargo build --release -p osi-agent`, or name it in OSI_AGENT",
        path.display()
    );
    Ok(path)
}

/// Runs the agent to its end, for commands and for bad input.
pub fn run(command: &mut Command) -> Result<Ended> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    Ok(Ended {
        status: done.status,
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

impl Agent {
    /// Watches one host of the lab and returns after the first fault map: everything is attached then.
    pub fn watch(host: &Namespace) -> Result<Self> {
        Self::watch_with(host, &[])
    }

    /// The same with windows of another length and further options.
    pub fn watch_every(host: &Namespace, interval: Duration, options: &[&str]) -> Result<Self> {
        Self::watch_namespaces(host.name(), interval, options)
    }

    /// The same with further options.
    pub fn watch_with(host: &Namespace, options: &[&str]) -> Result<Self> {
        Self::watch_namespaces(host.name(), INTERVAL, options)
    }

    /// Watches two hosts by two agents that are started at once: their windows begin at most some seconds apart, and both have
    /// told their first one, the later one just now.
    pub fn watch_both(
        hosts: [&Namespace; 2],
        interval: Duration,
        options: &[&str],
    ) -> Result<[Self; 2]> {
        let [one, other] = hosts;
        let _turn = start::turn();
        let watch =
            |host: &Namespace| Self::begin(Command::new(binary()?), host.name(), interval, options);
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| watch(other));
            (watch(one), other.join())
        });
        let other = other.map_err(|_| anyhow!("the thread that starts an agent panicked"))?;
        Ok([one?, other?])
    }

    /// The same, started by a command that changes something and then becomes the agent.
    pub fn watch_through(starter: &[&str], host: &Namespace) -> Result<Self> {
        let (program, words) = starter.split_first().context("no command to start it by")?;
        let mut starter = Command::new(program);
        starter.args(words).arg(binary()?);
        Self::watch_by(starter, host.name(), INTERVAL, &[])
    }

    /// Watches every namespace of the machine, as without options.
    pub fn watch_all() -> Result<Self> {
        Self::watch_all_with(&[])
    }

    /// The same with further options.
    pub fn watch_all_with(options: &[&str]) -> Result<Self> {
        Self::watch_namespaces("all", INTERVAL, options)
    }

    /// The same with windows of another length.
    pub fn watch_all_every(interval: Duration) -> Result<Self> {
        Self::watch_namespaces("all", interval, &[])
    }

    /// The same, started by another program, which gets the agent's words as its last ones.
    pub fn watch_all_by(starter: Command) -> Result<Self> {
        Self::watch_by(starter, "all", INTERVAL, &[])
    }

    fn watch_namespaces(which: &str, interval: Duration, options: &[&str]) -> Result<Self> {
        Self::watch_by(Command::new(binary()?), which, interval, options)
    }

    fn watch_by(
        starter: Command,
        which: &str,
        interval: Duration,
        options: &[&str],
    ) -> Result<Self> {
        let _turn = start::turn();
        Self::begin(starter, which, interval, options)
    }

    fn begin(
        mut starter: Command,
        which: &str,
        interval: Duration,
        options: &[&str],
    ) -> Result<Self> {
        let every = humantime::format_duration(interval).to_string();
        starter.args(["watch", "--json", "--interval", &every, "--netns", which]);
        let agent = Self::start(starter.args(options))?;
        agent.wait_for("the first fault map", START, Line::is_fault_map)?;
        Ok(agent)
    }

    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the agent")?;
        let stdout = child
            .stdout
            .take()
            .context("the agent has no standard output")?;
        let stderr = child
            .stderr
            .take()
            .context("the agent has no standard error")?;
        let heard = Arc::new(Heard::default());
        let (lines, complaints) = (Arc::clone(&heard), Arc::clone(&heard));
        let readers = vec![
            std::thread::spawn(move || lines.listen(stdout)),
            std::thread::spawn(move || complaints.overhear(stderr)),
        ];
        Ok(Self {
            child,
            heard,
            readers,
        })
    }

    /// The agent's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process and the helper that it started.
    pub fn processes(&self) -> Result<[u32; 2]> {
        let helper = processes::children(self.pid())?;
        match *helper {
            [helper] => Ok([self.pid(), helper]),
            _ => bail!("the agent has these children instead of one: {helper:?}"),
        }
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<Line> {
        self.heard.lock().lines.clone()
    }

    /// What it complained so far.
    pub fn complaints(&self) -> String {
        self.heard.lock().stderr.clone()
    }

    /// Waits for a line, also among those already read; a line that breaks the contract ends the wait.
    pub fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        matches: impl Fn(&Line) -> bool,
    ) -> Result<Line> {
        let timeout = scale::patience(timeout);
        let deadline = Instant::now() + timeout;
        let mut seen = 0;
        let mut state = self.heard.lock();
        loop {
            if let Some(broken) = &state.broken {
                bail!("{broken}");
            }
            if let Some(line) = state.lines[seen..].iter().find(|line| matches(line)) {
                return Ok(line.clone());
            }
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = state.ended == OUTPUTS;
            if ended || left.is_zero() {
                let why = if ended {
                    "the agent ended"
                } else {
                    "time ran out"
                };
                drop(state);
                return Err(self.failure(&anyhow!("waited {timeout:?} for {what}: {why}")));
            }
            (state, _) = self
                .heard
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the `number`th fault map whose window ended after `time`, counted from 1.
    pub fn wait_for_window(&self, time: SystemTime, number: usize) -> Result<Line> {
        let window = scale::patience(INTERVAL).max(self.interval()?);
        let deadline = Instant::now() + window * (number as u32 + 3);
        loop {
            let maps = self.fault_maps_after(time)?;
            if let Some(map) = maps.get(number - 1) {
                return Ok(map.clone());
            }
            let seen = self
                .lines()
                .iter()
                .filter(|line| line.is_fault_map())
                .count() as u64;
            let left = deadline.saturating_duration_since(Instant::now());
            self.wait_for("the next fault map", left, |line| {
                line.is_fault_map() && line.value()["seq"].as_u64() > Some(seen)
            })?;
        }
    }

    /// The fault maps whose window ended after `time`.
    pub fn fault_maps_after(&self, time: SystemTime) -> Result<Vec<Line>> {
        let mut maps = Vec::new();
        for line in self.lines() {
            if line.is_fault_map() && line.time()? >= time {
                maps.push(line);
            }
        }
        Ok(maps)
    }

    /// Fails with the sentence and what the agent said, unless `condition` holds.
    pub fn ensure(&self, condition: bool, sentence: impl FnOnce() -> String) -> Result<()> {
        if condition {
            return Ok(());
        }
        Err(self.failure(&anyhow!(sentence())))
    }

    /// The same; if it holds, the sentence is said as well, so that a run shows what was equal.
    pub fn compare(&self, condition: bool, sentence: impl Fn() -> String) -> Result<()> {
        self.ensure(condition, &sentence)?;
        Ok(report::say("compared", &sentence())?)
    }

    /// An error, followed by what the agent said last.
    pub fn failure(&self, error: &Error) -> Error {
        anyhow!("{error:#}\n{}", self.said())
    }

    /// SIGINT: must end with 0 after a last line `bye`. Returns every line.
    pub fn stop(mut self) -> Result<Vec<Line>> {
        self.signal(Signal::INT)?;
        let status = self.wait_exit()?;
        self.join_readers()?;
        let lines = self.lines();
        transcript::keep(&lines)?;
        let broken = self.heard.lock().broken.take();
        self.ensure(broken.is_none(), || broken.unwrap_or_default())?;
        self.ensure(status.success(), || {
            format!("SIGINT ended the agent with {status} instead of 0")
        })?;
        let last = lines.last().map_or("nothing", Line::kind);
        self.ensure(last == "bye", || {
            format!("the last line is {last} instead of bye")
        })?;
        Ok(lines)
    }

    /// SIGSTOP: nothing of it runs until [`Agent::resume`].
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("the agent is already gone")
    }

    /// SIGKILL, as the kernel's OOM killer would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("the agent is already gone")?;
        let status = self.wait_exit()?;
        ensure!(
            status.signal() == Some(Signal::KILL.as_raw()),
            "SIGKILL ended the agent with {status}"
        );
        self.join_readers()
    }

    fn wait_exit(&mut self) -> Result<ExitStatus> {
        let child = &mut self.child;
        let outcome = wait::until("the agent ends", STOP, || Ok(child.try_wait()?));
        outcome.map_err(|error| self.failure(&error))
    }

    fn join_readers(&mut self) -> Result<()> {
        for reader in self.readers.drain(..) {
            reader
                .join()
                .map_err(|_| anyhow!("a reader of the agent's output panicked"))?;
        }
        Ok(())
    }

    fn said(&self) -> String {
        let state = self.heard.lock();
        let mut said = stream::story(&state.lines);
        if !state.stderr.is_empty() {
            said.push_str("\non standard error:\n");
            said.push_str(&state.stderr);
        }
        said
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            for outcome in [self.child.kill(), self.child.wait().map(drop)] {
                if let Err(error) = outcome {
                    eprintln!("cannot end the agent: {error}");
                }
            }
        }
    }
}
