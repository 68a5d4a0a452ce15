//! Runs a command to its end and turns every failure into a sentence that shows what the command said.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Standard output of a command that must succeed.
pub fn output(command: &mut Command) -> Result<String> {
    output_with_input(command, "")
}

/// The same, with text on its standard input.
pub fn output_with_input(command: &mut Command, input: &str) -> Result<String> {
    let name = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let Some(mut stdin) = child.stdin.take() else {
        bail!("{name} has no standard input although one was asked for");
    };
    stdin
        .write_all(input.as_bytes())
        .with_context(|| format!("{name} closed its standard input"))?;
    drop(stdin);
    let done = child
        .wait_with_output()
        .with_context(|| format!("cannot wait for {name}"))?;
    ensure!(
        done.status.success(),
        "{name} ended with {}: {}",
        done.status,
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// What a command that may fail said on standard error.
pub fn diagnostics(command: &mut Command) -> Result<String> {
    diagnostics_with_input(command, "")
}

/// The same, with text on its standard input, which it may not want to read.
pub fn diagnostics_with_input(command: &mut Command, input: &str) -> Result<String> {
    let quiet = command.stdin(Stdio::piped()).stdout(Stdio::null());
    let child = quiet.stderr(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot start {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let _unread = stdin.write_all(input.as_bytes());
    }
    let done = child
        .wait_with_output()
        .with_context(|| format!("cannot wait for {command:?}"))?;
    Ok(String::from_utf8_lossy(&done.stderr).into_owned())
}

/// The JSON that a command printed.
pub fn json(command: &mut Command) -> Result<Value> {
    let name = format!("{command:?}");
    let text = output(command)?;
    serde_json::from_str(&text).with_context(|| format!("{name} printed no JSON: {text}"))
}
