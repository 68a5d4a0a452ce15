//! A host that does nothing.

use std::time::SystemTime;

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::topology::Routed;
use osi_tests::{expect, skip};

#[test]
fn idle() -> Result<()> {
    let Some(_turn) = skip::ready("controls::idle::idle", &[])? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let agent = Agent::watch(&lab.client)?;
    agent.wait_for_window(SystemTime::now(), 8)?;
    expect::calm(agent).map(drop)
}
