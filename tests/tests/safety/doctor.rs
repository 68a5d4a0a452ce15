//! `doctor` lists every probe with the truth about it, and `schema` prints what is committed.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use osi_tests::stream::rows;
use osi_tests::{agent, schema, skip};
use serde_json::Value;

#[test]
fn every_probe_has_a_state_and_the_unavailable_a_reason() -> Result<()> {
    let Some(_turn) = skip::ready(
        "safety::doctor::every_probe_has_a_state_and_the_unavailable_a_reason",
        &[],
    )?
    else {
        return Ok(());
    };
    let ended = agent::run(Command::new(agent::binary()?).args(["doctor", "--json"]))?;
    ensure!(
        ended.code() == 0,
        "doctor ended with {}: {}",
        ended.code(),
        ended.stderr
    );
    let report: Value =
        serde_json::from_str(&ended.stdout).context("doctor --json printed no JSON object")?;
    let probes: Vec<_> = rows(&report, "probes").collect();
    ensure!(!probes.is_empty(), "doctor lists no probes: {report}");
    for probe in &probes {
        ensure!(probe["name"].is_string(), "a probe has no name: {probe}");
        let told = match probe["state"].as_str() {
            Some("active") => "variant",
            Some("unavailable" | "off") => "reason",
            _ => anyhow::bail!("a probe has no state: {probe}"),
        };
        let text = probe[told].as_str().unwrap_or("");
        ensure!(!text.is_empty(), "a probe has no {told}: {probe}");
    }
    ensure!(
        probes.iter().any(|probe| probe["state"] == "active"),
        "no probe is active: {report}"
    );
    Ok(())
}

#[test]
fn the_printed_schema_is_the_committed_one() -> Result<()> {
    let ended = agent::run(Command::new(agent::binary()?).arg("schema"))?;
    ensure!(
        ended.code() == 0,
        "schema ended with {}: {}",
        ended.code(),
        ended.stderr
    );
    let committed = std::fs::read_to_string(schema::path())?;
    ensure!(
        ended.stdout == committed,
        "docs/schema is stale: write it again with `osi-agent schema`"
    );
    Ok(())
}
