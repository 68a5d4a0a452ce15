//! However the agent ends, no process, program, link, filter or queueing discipline of it stays.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::bpf::Objects;
use osi_tests::netns::Namespace;
use osi_tests::skip::{self, Need};
use osi_tests::topology::Pair;
use osi_tests::{tc, wait};

/// The kernel frees the objects of a dead process a little later.
const FREED: Duration = Duration::from_secs(10);

#[test]
fn sigkill_leaves_nothing() -> Result<()> {
    scenario(
        "safety::leftovers::sigkill_leaves_nothing",
        |agent, host| {
            let by_filters = agent.probe("tc")?["variant"] == "clsact";
            agent.kill()?;
            // Before 6.6 the kernel has no link for them: filters outlive their process, and the next agent removes them.
            if by_filters {
                Agent::watch(host)?.stop()?;
            }
            Ok(())
        },
    )
}

#[test]
fn sigint_leaves_nothing() -> Result<()> {
    scenario("safety::leftovers::sigint_leaves_nothing", |agent, _| {
        agent.stop().map(drop)
    })
}

fn scenario(test: &str, end: impl FnOnce(Agent, &Namespace) -> Result<()>) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[Need::Program("bpftool"), Need::Program("tc")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let before = traffic_control(&pair.client)?;
    let agent = Agent::watch(&pair.client)?;
    // Other tests run agents of their own, so only what this process holds is looked at.
    let held = Objects::held_by(agent.pid())?;
    agent.ensure(!held.programs.is_empty(), || {
        "the agent holds no eBPF program".to_owned()
    })?;
    let shown = held.remaining()?;
    agent.ensure(shown == held, || {
        format!("the agent holds {held:?} and bpftool shows {shown:?}")
    })?;
    let processes = agent.processes()?;
    end(agent, &pair.client)?;
    wait::until("the agent's processes are gone", FREED, || {
        let gone = |pid| !Path::new(&format!("/proc/{pid}")).exists();
        Ok(processes.into_iter().all(gone).then_some(()))
    })?;
    wait::until("the agent's programs and links are gone", FREED, || {
        Ok(held.remaining()?.is_empty().then_some(()))
    })?;
    let after = traffic_control(&pair.client)?;
    ensure!(
        before == after,
        "traffic control was\n{before}\nand now is\n{after}"
    );
    Ok(())
}

/// Queueing disciplines by kind and handle, and filters, of a host's interfaces.
fn traffic_control(host: &Namespace) -> Result<String> {
    let mut all = Vec::new();
    for interface in ["lo", "eth0"] {
        let qdiscs = tc::qdiscs(host, interface)?;
        for qdisc in qdiscs.as_array().into_iter().flatten() {
            all.push(format!(
                "{interface} qdisc {} {}",
                qdisc["kind"], qdisc["handle"]
            ));
        }
        for direction in ["ingress", "egress"] {
            let filters = tc::filters(host, interface, direction)?;
            all.extend(
                filters
                    .lines()
                    .map(|line| format!("{interface} {direction} {line}")),
            );
        }
    }
    Ok(all.join("\n"))
}
