//! What the agent says of itself in its first line.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Agent;
use crate::stream::{self, Line};

impl Agent {
    fn hello(&self) -> Result<Line> {
        let lines = self.lines();
        lines.into_iter().next().context("the agent said nothing")
    }

    /// How long its windows are.
    pub(super) fn interval(&self) -> Result<Duration> {
        let ns = self.hello()?.value()["interval_ns"].as_u64();
        ns.map(Duration::from_nanos)
            .context("hello has no interval")
    }

    /// A probe's row.
    pub fn probe(&self, name: &str) -> Result<Value> {
        let hello = self.hello()?;
        let found = stream::rows(hello.value(), "probes").find(|probe| probe["name"] == name);
        found
            .cloned()
            .with_context(|| format!("hello lists no probe {name}: {hello}"))
    }
}
