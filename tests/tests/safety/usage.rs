//! Bad input: the exit code of the contract and one sentence that says what to do.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::{self, Ended};
use osi_tests::skip::{self, Need};
use osi_tests::stream::rows;
use osi_tests::topology::Pair;
use serde_json::Value;

/// Fails unless the agent ended with `code`, printed nothing, and said all of `words`.
fn refused(ended: &Ended, code: i32, words: &[&str]) -> Result<()> {
    ensure!(
        ended.code() == code,
        "the exit code is {} instead of {code}: {}",
        ended.code(),
        ended.stderr
    );
    ensure!(ended.stdout.is_empty(), "it printed {}", ended.stdout);
    for word in words {
        ensure!(
            ended.stderr.contains(word),
            "the message does not name {word}: {}",
            ended.stderr
        );
    }
    Ok(())
}

fn watch(options: &[&str]) -> Result<Ended> {
    agent::run(
        Command::new(agent::binary()?)
            .args(["watch", "--json", "--duration", "2s"])
            .args(options),
    )
}

#[test]
fn an_unknown_option() -> Result<()> {
    refused(&watch(&["--no-such-option"])?, 2, &["--no-such-option"])
}

#[test]
fn a_wrong_interval() -> Result<()> {
    refused(&watch(&["--interval", "soon"])?, 2, &["soon"])
}

#[test]
fn an_unknown_interface_is_answered_with_those_there_are() -> Result<()> {
    let Some(_turn) = skip::ready(
        "safety::usage::an_unknown_interface_is_answered_with_those_there_are",
        &[],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let ended = watch(&["--netns", pair.client.name(), "--iface", "nosuch0"])?;
    refused(&ended, 2, &["nosuch0", "eth0", "lo"])
}

#[test]
fn an_unknown_namespace() -> Result<()> {
    let Some(_turn) = skip::ready("safety::usage::an_unknown_namespace", &[])? else {
        return Ok(());
    };
    refused(&watch(&["--netns", "osi-nowhere"])?, 2, &["osi-nowhere"])
}

#[test]
fn an_unreadable_configuration() -> Result<()> {
    refused(
        &watch(&["--config", "/nonexistent/osi-agent.toml"])?,
        5,
        &["/nonexistent/osi-agent.toml"],
    )
}

#[test]
fn a_wrong_configuration_is_answered_with_line_and_key() -> Result<()> {
    let file = std::env::temp_dir().join(format!("osi-{}-wrong.toml", std::process::id()));
    std::fs::write(&file, "# a comment\nno_such_key = 1\n")?;
    let ended = watch(&["--config", &file.to_string_lossy()]);
    std::fs::remove_file(&file)?;
    refused(&ended?, 5, &["no_such_key", "2"])
}

#[test]
fn without_privilege_it_names_what_is_missing() -> Result<()> {
    let Some(_turn) = skip::ready(
        "safety::usage::without_privilege_it_names_what_is_missing",
        &[Need::Program("setpriv")],
    )?
    else {
        return Ok(());
    };
    let ended = unprivileged(&["watch", "--json", "--duration", "2s"])?;
    refused(&ended, 3, &[])?;
    let message = ended.stderr.to_lowercase();
    ensure!(
        message.contains("cap_bpf"),
        "the missing capability is not named: {}",
        ended.stderr
    );
    ensure!(
        message.contains("setcap") || message.contains("sudo"),
        "the command that grants it is not named: {}",
        ended.stderr
    );
    Ok(())
}

/// The doctor's job is to say what is missing: it tells everything, and then how it stands.
#[test]
fn without_privilege_the_doctor_names_what_each_probe_lacks() -> Result<()> {
    let Some(_turn) = skip::ready(
        "safety::usage::without_privilege_the_doctor_names_what_each_probe_lacks",
        &[Need::Program("setpriv")],
    )?
    else {
        return Ok(());
    };
    let ended = unprivileged(&["doctor", "--json"])?;
    ensure!(
        ended.code() == 3 && ended.stderr.contains("CAP_BPF"),
        "doctor ended with {}: {}",
        ended.code(),
        ended.stderr
    );
    let report: Value = serde_json::from_str(&ended.stdout).context("no JSON object")?;
    ensure!(
        rows(&report, "probes").count() > 0,
        "no probe is listed: {report}"
    );
    for probe in rows(&report, "probes") {
        let reason = probe["reason"].as_str().unwrap_or("");
        ensure!(
            probe["state"] == "unavailable" && reason.contains("CAP_BPF"),
            "a probe does not say what it lacks: {probe}"
        );
    }
    ensure!(
        rows(&report, "readers").any(|reader| reader["ok"] == true),
        "what needs no privilege is not read: {report}"
    );
    Ok(())
}

/// Runs the agent as nobody, without any capability.
fn unprivileged(args: &[&str]) -> Result<Ended> {
    let binary = readable_copy()?;
    let ended = agent::run(
        Command::new("setpriv")
            .args([
                "--reuid",
                "65534",
                "--regid",
                "65534",
                "--clear-groups",
                "--inh-caps=-all",
                "--bounding-set=-all",
            ])
            .arg(&binary)
            .args(args),
    );
    std::fs::remove_file(&binary)?;
    ended
}

/// A copy where any user can reach it: the build directory may be closed to others.
fn readable_copy() -> Result<PathBuf> {
    let copy = std::env::temp_dir().join(format!(
        "osi-{}-agent-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::copy(agent::binary()?, &copy).context("cannot copy the agent")?;
    std::fs::set_permissions(&copy, Permissions::from_mode(0o755))?;
    Ok(copy)
}
