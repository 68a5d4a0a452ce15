//! What a scenario expects of the agent: the right cause on the right layer, soon enough, explained and advised; or calm.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::agent::{Agent, INTERVAL};
use crate::stream::{Line, rows, story};
use crate::{report, scale};

/// Windows from the kernel's first evidence to the verdict, for hard causes.
pub const HARD: usize = 2;
/// The same for statistical ones.
pub const STATISTICAL: usize = 5;
/// A finding closes after five clear windows; two more for the window in which the fault ends and for the line to arrive.
const CLOSING: Duration = Duration::from_secs(12);
/// Longer than any command that an advice names takes.
const CONFIRMING: Duration = Duration::from_secs(5);

/// The finding that a scenario provokes.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Its cause.
    pub cause: &'static str,
    /// Its layer.
    pub layer: &'static str,
    /// Windows from the first evidence to the verdict: [`HARD`] or [`STATISTICAL`].
    pub within: usize,
    /// Causes that the same fault may truthfully bring to the verdict before or after.
    pub beside: &'static [&'static str],
}

impl Expected {
    /// Waits for the verdict. `fault` is when the host was healthy for the last time,
    /// `evidence` when the scenario saw the kernel's first evidence of the fault.
    ///
    /// The window that holds the evidence is the first whose end lies after it; it is number 1.
    pub fn named(&self, agent: &Agent, fault: SystemTime, evidence: SystemTime) -> Result<Line> {
        let deadline = agent.wait_for_window(evidence, self.within)?;
        let named = agent
            .lines()
            .into_iter()
            .find(|line| line.is_fault_map() && line.cause() == Some(self.cause));
        let Some(map) =
            named.filter(|map| map.value()["seq"].as_u64() <= deadline.value()["seq"].as_u64())
        else {
            return Err(agent.failure(&anyhow!(
                "{} was not named within {} windows of the first evidence at {}",
                self.cause,
                self.within,
                humantime::format_rfc3339_millis(evidence)
            )));
        };
        self.is_no_false_alarm(agent, &map, fault)?;
        self.is_complete(agent, &map)?;
        self.tell(agent, &map, evidence)?;
        Ok(map)
    }

    /// Says on standard output which window named it; 0 is one before the scenario saw the evidence.
    fn tell(&self, agent: &Agent, map: &Line, evidence: SystemTime) -> Result<()> {
        let mut window = 0;
        for line in agent.lines().iter().filter(|line| line.is_fault_map()) {
            let until_then = line.value()["seq"].as_u64() <= map.value()["seq"].as_u64();
            window += u32::from(until_then && line.time()? >= evidence);
        }
        let verdict = map.verdict();
        let said = ["layer", "state", "confidence"].map(|key| verdict[key].as_str().unwrap_or("?"));
        let text = format!(
            "{} {} in window {window} of {}",
            self.cause,
            said.join(" "),
            self.within
        );
        report::say("named", &text)?;
        Ok(())
    }

    /// Before the fault nothing was found where it is now, and nothing of its kind anywhere.
    fn is_no_false_alarm(&self, agent: &Agent, map: &Line, fault: SystemTime) -> Result<()> {
        let scope = &map.verdict()["scope"];
        for line in agent.lines() {
            let alarm = match line.kind() {
                "finding" => line.value(),
                "fault_map" => line.verdict(),
                _ => continue,
            };
            let same = alarm["cause"] == self.cause || alarm["scope"] == *scope;
            agent.ensure(!same || line.time()? >= fault, || {
                format!(
                    "the fault began at {} and this was said before: {line}",
                    humantime::format_rfc3339_millis(fault)
                )
            })?;
        }
        Ok(())
    }

    /// The verdict's layer, evidence, advice, and its finding on a line of its own.
    fn is_complete(&self, agent: &Agent, map: &Line) -> Result<()> {
        let verdict = map.verdict();
        let cause = self.cause;
        let layer = &verdict["layer"];
        agent.ensure(layer == self.layer, || {
            format!("{cause} was put on {layer} instead of {}", self.layer)
        })?;
        let state = &verdict["state"];
        agent.ensure(state == "warn" || state == "critical", || {
            format!("{cause} is open and the verdict is {state}")
        })?;
        let with_value = rows(verdict, "evidence")
            .filter(|row| row["signal"].is_string() && row["value"].is_number());
        agent.ensure(with_value.count() > 0, || {
            format!("{cause} has no evidence with a value: {verdict}")
        })?;
        let confirming: Vec<_> = rows(verdict, "advice")
            .filter_map(|row| row["confirm"].as_str())
            .filter(|text| !text.is_empty())
            .collect();
        agent.ensure(!confirming.is_empty(), || {
            format!("{cause} has no advice with a command that confirms it: {verdict}")
        })?;
        for text in confirming {
            confirm(text).map_err(|error| agent.failure(&error))?;
        }
        let id = finding(map);
        agent.ensure(map.has_open(id), || {
            format!("the verdict's finding {id:?} is not among the open ones")
        })?;
        agent.wait_for(
            &format!("the finding line of {cause}"),
            INTERVAL * 2,
            |line| {
                line.kind() == "finding"
                    && line.value()["id"] == id
                    && line.value()["cause"] == cause
            },
        )?;
        Ok(())
    }

    /// Waits until the finding of `map` is resolved, after the fault was removed.
    pub fn resolves(&self, agent: &Agent, map: &Line) -> Result<()> {
        let id = finding(map);
        agent.wait_for(&format!("{} to be resolved", self.cause), CLOSING, |line| {
            line.kind() == "finding"
                && line.value()["id"] == id
                && line.value()["state"] == "resolved"
        })?;
        agent
            .wait_for_window(SystemTime::now(), 1)
            .and_then(|later| {
                agent.ensure(!later.has_open(id), || {
                    format!("{} is resolved and still listed as open", self.cause)
                })
            })
    }

    /// Stops the agent and makes sure that no verdict ever named anything else.
    pub fn stop(&self, agent: Agent) -> Result<Vec<Line>> {
        let lines = agent.stop()?;
        let wrong = lines
            .iter()
            .filter(|line| line.is_fault_map())
            .find(|line| {
                line.cause()
                    .is_some_and(|cause| cause != self.cause && !self.beside.contains(&cause))
            });
        match wrong {
            Some(map) => bail!(
                "this verdict is not {}: {map}\n{}",
                self.cause,
                story(&lines)
            ),
            None => Ok(lines),
        }
    }
}

/// Runs a command that the advice names, as its reader would: in a shell of the host. It must succeed.
fn confirm(text: &str) -> Result<()> {
    let seconds = scale::patience(CONFIRMING).as_secs().to_string();
    let done = Command::new("timeout")
        .args([&seconds, "sh", "-c", text])
        .stdin(Stdio::null())
        .output()
        .context("cannot start timeout")?;
    ensure!(
        done.status.success(),
        "the advice says `{text}`, which ends with {}: {}{}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

/// The id of the verdict's finding.
pub fn finding(map: &Line) -> &str {
    map.verdict()["finding_id"].as_str().unwrap_or("")
}

/// Stops the agent and makes sure that nothing at all was found. Returns its lines.
pub fn calm(agent: Agent) -> Result<Vec<Line>> {
    let lines = agent.stop()?;
    let alarm = lines.iter().find(|line| {
        line.kind() == "finding" || line.is_fault_map() && line.verdict()["state"] != "ok"
    });
    match alarm {
        Some(line) => bail!("a healthy host was alarmed by {line}\n{}", story(&lines)),
        None => Ok(lines),
    }
}

/// Stops the agent and makes sure that at most warnings were found and all of them were resolved. Returns its lines.
pub fn at_most_resolved_warnings(agent: Agent) -> Result<Vec<Line>> {
    let lines = agent.stop()?;
    let critical = lines
        .iter()
        .find(|line| line.kind() == "finding" && line.value()["severity"] == "critical");
    let open_at_end = lines
        .iter()
        .rfind(|line| line.is_fault_map())
        .filter(|map| rows(map.value(), "open_findings").next().is_some());
    match critical.or(open_at_end) {
        Some(line) => bail!(
            "a healthy restart left more than a resolved warning: {line}\n{}",
            story(&lines)
        ),
        None => Ok(lines),
    }
}
