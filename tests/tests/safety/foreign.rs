//! What others have attached is still there, and still the same, however the agent starts and ends.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::foreign::{self, Foreign, Hook};
use osi_tests::load::{self, Plan};
use osi_tests::netns::Namespace;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{Line, event_count, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{cgroup, link, tc};

const ETH0: &str = "eth0";

#[test]
fn an_xdp_program_of_others_stays() -> Result<()> {
    let test = "safety::foreign::an_xdp_program_of_others_stays";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let foreign = Foreign::on_interface(&pair.client, ETH0, Hook::Xdp)?;
    let theirs = Some(foreign.id()?);
    for end in [stop, Agent::kill] {
        let agent = Agent::watch_with(&pair.client, &["--xdp", "generic", "--iface", ETH0])?;
        ensure!(
            link::xdp_program(&pair.client, ETH0)? == theirs,
            "the agent replaced program {theirs:?} on {ETH0}"
        );
        let xdp = agent.probe("xdp")?;
        let reason = xdp["reason"].as_str().unwrap_or("");
        agent.ensure(
            xdp["state"] == "unavailable" && reason.contains(&format!("program {}", foreign.id()?)),
            || format!("xdp is taken on {ETH0} and the agent says {xdp}"),
        )?;
        let tc = agent.probe("tc")?;
        agent.ensure(tc["state"] == "active", || {
            format!("a refused XDP program blinds tc: {tc}")
        })?;
        end(agent)?;
        ensure!(
            link::xdp_program(&pair.client, ETH0)? == theirs,
            "the agent took program {theirs:?} off {ETH0}"
        );
    }
    Ok(())
}

#[test]
fn no_xdp_program_unless_asked() -> Result<()> {
    let Some(_turn) = skip::ready("safety::foreign::no_xdp_program_unless_asked", &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.client)?;
    let ours = link::xdp_program(&pair.client, ETH0)?;
    agent.ensure(ours.is_none(), || {
        format!("nobody asked for XDP and {ETH0} has program {ours:?}")
    })?;
    stop(agent)
}

/// A filter of others on a qdisc of others, beside our filters: the same before, during and after.
#[test]
fn tc_filters_of_others_stay() -> Result<()> {
    let test = "safety::foreign::tc_filters_of_others_stay";
    let Some(_turn) = skip::ready(test, &[Need::Program("tc")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    tc::add_foreign_filter(&pair.client, ETH0)?;
    let theirs = filters(&pair.client)?;
    ensure!(!theirs.is_empty(), "tc shows no foreign filter");
    for end in [stop, Agent::kill, stop] {
        let agent = Agent::watch_with(&pair.client, &["--probe-variant", "tc=clsact"])?;
        let both = filters(&pair.client)?;
        agent.ensure(theirs.iter().all(|line| both.contains(line)), || {
            format!("there was {theirs:?}, and beside the agent there is {both:?}")
        })?;
        // What the second agent left at its SIGKILL went when the third one started.
        let ours = both.iter().filter(|line| line.contains("osi_tc_")).count();
        agent.ensure(ours == 2, || {
            format!("one filter of ours per direction, not {ours}: {both:?}")
        })?;
        end(agent)?;
    }
    let after = filters(&pair.client)?;
    ensure!(after == theirs, "there was {theirs:?}, and now {after:?}");
    Ok(())
}

/// A program that was put before ours ends every packet's way: that is blindness, not silence.
#[test]
fn a_program_before_ours_is_told_as_blindness() -> Result<()> {
    let test = "safety::foreign::a_program_before_ours_is_told_as_blindness";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.client)?;
    let _foreign = match Foreign::on_interface(&pair.client, ETH0, Hook::TcxIngress) {
        Ok(foreign) => foreign,
        Err(error) => return skip::skip(test, &format!("no TCX before Linux 6.6: {error:#}")),
    };
    let shadowed = SystemTime::now();
    let answered = Plan::connects(Pair::server_at(Family::V4, 1), 2000, 1000);
    load::connections(&pair.client, answered)?.join()?;
    let told = agent.wait_for(
        "packets of eth0 to be blind",
        Duration::from_secs(5),
        |line| {
            line.is_fault_map()
                && line.time().is_ok_and(|time| time >= shadowed)
                && rows(line.layer("L2"), "blind").any(|row| {
                    row["what"] == "packets of eth0"
                        && row["why"]
                            .as_str()
                            .is_some_and(|why| why.contains("before"))
                })
        },
    )?;
    agent.ensure(told.layer("L2")["coverage"] != "full", || {
        format!("L2 is partly blind and says {}", told.layer("L2"))
    })?;
    stop(agent)
}

/// A program that suffers no other beside it: the agent goes without, and counts connects all the same.
#[test]
fn a_cgroup_program_of_others_stays() -> Result<()> {
    let test = "safety::foreign::a_cgroup_program_of_others_stays";
    // The program stands at the root, where every agent of another test would meet it.
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let Some(root) = cgroup::unified()? else {
        return skip::skip(test, "no cgroup2 file system is mounted");
    };
    let pair = Pair::build()?;
    let foreign = match Foreign::on_cgroup(&root, Hook::SockOpsOverride) {
        Ok(foreign) => foreign,
        Err(error) => {
            let reason = format!("the root cgroup has programs already: {error:#}");
            return skip::skip(test, &reason);
        }
    };
    let is_there = || {
        Ok::<_, anyhow::Error>(foreign::on(&root, Hook::SockOpsOverride)?.contains(&foreign.id()?))
    };
    for end in [stop, Agent::kill] {
        let agent = Agent::watch(&pair.client)?;
        agent.ensure(is_there()?, || {
            "the agent replaced a program of the root cgroup".to_owned()
        })?;
        let probe = agent.probe("tcp_connect")?;
        agent.ensure(
            probe["state"] == "active" && probe["variant"] != "sock_ops",
            || format!("sock_ops is taken, and the agent says {probe}"),
        )?;
        end(agent)?;
        ensure!(
            is_there()?,
            "the agent removed a program of the root cgroup"
        );
    }
    let theirs = foreign.id()?;
    drop(foreign);
    ensure!(
        !foreign::on(&root, Hook::SockOpsOverride)?.contains(&theirs),
        "the test's own program {theirs} stays on the root cgroup"
    );
    Ok(())
}

/// Two agents on one host: both see the same, and neither ends the other.
#[test]
fn two_agents_agree() -> Result<()> {
    const CONNECTS: u64 = 40;
    const REFUSED: Expected = Expected {
        cause: "connection_refused",
        layer: "L4",
        within: HARD,
        beside: &[],
    };
    let Some(_turn) = skip::ready("safety::foreign::two_agents_agree", &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let first = Agent::watch(&pair.client)?;
    let second = Agent::watch(&pair.client)?;
    let fault = SystemTime::now();
    let plan = Plan::connects(Pair::server_at(Family::V4, 81), CONNECTS, 40);
    let report = load::connections(&pair.client, plan)?.join()?;
    let evidence = report.first_error.context("no connect failed")?;
    REFUSED.named(&first, fault, evidence)?;
    REFUSED.named(&second, fault, evidence)?;
    let refused = |lines: &[Line]| event_count(lines, "connect_failed", |_| true);
    let told = refused(&REFUSED.stop(first)?);
    ensure!(
        told == CONNECTS,
        "{CONNECTS} were refused, the first agent counts {told}"
    );
    // The second one goes on alone.
    second.wait_for_window(SystemTime::now(), 1)?;
    let told = refused(&REFUSED.stop(second)?);
    ensure!(
        told == CONNECTS,
        "{CONNECTS} were refused, the second agent counts {told}"
    );
    Ok(())
}

fn stop(agent: Agent) -> Result<()> {
    agent.stop().map(drop)
}

/// Filters of both directions, line by line.
fn filters(host: &Namespace) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for direction in ["ingress", "egress"] {
        let text = tc::filters(host, ETH0, direction)?;
        all.extend(text.lines().map(|line| format!("{direction} {line}")));
    }
    Ok(all)
}
