//! Holds every line of the stream against the committed JSON Schema.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context as _, Result, anyhow, bail};
use jsonschema::Validator;
use serde_json::Value;

static VALIDATOR: LazyLock<Result<Validator, String>> =
    LazyLock::new(|| compile().map_err(|error| format!("{error:#}")));

/// Where the schema is kept.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/osi-agent.v1.schema.json")
}

/// Fails with every violation of one line.
pub fn check(line: &Value) -> Result<()> {
    let validator = VALIDATOR.as_ref().map_err(|error| anyhow!("{error}"))?;
    let violations: Vec<String> = validator
        .iter_errors(line)
        .map(|error| format!("at {}: {error}", error.instance_path))
        .collect();
    if !violations.is_empty() {
        bail!("the line violates the schema: {}", violations.join("; "));
    }
    Ok(())
}

fn compile() -> Result<Validator> {
    let path = path();
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "there is no schema at {}: write it with `osi-agent schema`",
            path.display()
        )
    })?;
    let schema: Value = serde_json::from_str(&text).context("the schema is no JSON")?;
    jsonschema::validator_for(&schema)
        .map_err(|error| anyhow!("the schema is no JSON Schema: {error}"))
}
