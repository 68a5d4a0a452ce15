//! One fault that is felt on several layers: the root is named, and what it causes is told as its symptoms.

use std::time::Duration;

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::stream::{Line, rows};

mod application_stopped;
mod backend_down;
mod clients;
mod cpu_quota;
mod dead_neighbour;
mod link_saturated;
mod long_hello;
mod loss;
mod refused_resolver;
mod slow_reader;

/// Until all symptoms stand beside their root: the slowest opens after five windows.
const TOGETHER: Duration = Duration::from_secs(12);

/// Waits for a verdict that names the root, with all of these as its symptoms and no other root beside it.
pub(crate) fn told(agent: &Agent, root: &str, symptoms: &[&str]) -> Result<()> {
    let is_whole = |line: &Line| {
        let verdict = line.verdict();
        let felt = |cause: &&str| rows(verdict, "symptoms").any(|row| row["cause"] == **cause);
        line.is_fault_map()
            && line.cause() == Some(root)
            && symptoms.iter().all(felt)
            && rows(verdict, "other_roots").next().is_none()
    };
    let what = format!("{root} with its symptoms {}", symptoms.join(" and "));
    agent.wait_for(&what, TOGETHER, is_whole).map(drop)
}
