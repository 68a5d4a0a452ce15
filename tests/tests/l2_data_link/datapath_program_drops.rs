//! Somebody's program on the server's interface drops everything that comes in.
//!
//! First evidence: the program's first run. It drops whatever it is run for, so its runs are the drops.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::foreign::{self, Foreign, Hook, NAME};
use osi_tests::frame::{self, EXPERIMENTAL};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth, rows};
use osi_tests::topology::Pair;
use osi_tests::{kernel, tc, wait};

const EXPECTED: Expected = Expected {
    cause: "datapath_program_drops",
    layer: "L2",
    within: STATISTICAL,
    beside: &[],
};

const ETH0: &str = "eth0";
const FRAMES: u64 = 1200;
/// Windows in which a program is found at the latest, and one more.
const NAMED: Duration = Duration::from_secs(5);
const NEEDS: [Need; 2] = [Need::Program("bpftool"), Need::Program("tc")];

#[test]
fn a_generic_xdp_program() -> Result<()> {
    let test = "l2_data_link::datapath_program_drops::a_generic_xdp_program";
    drops(test, "xdp", |pair| {
        Foreign::on_interface(&pair.server, ETH0, Hook::XdpDrop)
    })
}

/// veth has a packet already when it runs the program, so the kernel sees it freed.
#[test]
fn an_xdp_program_in_the_driver() -> Result<()> {
    let test = "l2_data_link::datapath_program_drops::an_xdp_program_in_the_driver";
    drops(test, "xdp", |pair| {
        Foreign::on_interface(&pair.server, ETH0, Hook::XdpDriverDrop)
    })
}

#[test]
fn a_tcx_program() -> Result<()> {
    let test = "l2_data_link::datapath_program_drops::a_tcx_program";
    if !kernel::is_at_least(6, 6)? {
        return skip::skip(test, "no TCX before Linux 6.6");
    }
    drops(test, "tcx ingress", |pair| {
        Foreign::on_interface(&pair.server, ETH0, Hook::TcxIngressDrop)
    })
}

/// Before 5.17 the kernel frees what a filter drops where it frees frames of unknown protocols: its qdisc tells them apart.
#[test]
fn a_tc_filter() -> Result<()> {
    let test = "l2_data_link::datapath_program_drops::a_tc_filter";
    drops(test, "tc ingress", |pair| {
        Foreign::as_filter(&pair.server, ETH0)
    })
}

fn drops(test: &str, hook: &str, attach: impl FnOnce(&Pair) -> Result<Foreign>) -> Result<()> {
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let _counting = foreign::counting()?;
    let agent = Agent::watch(&pair.server)?;
    let (from, to) = ((&pair.client, ETH0), (&pair.server, ETH0));
    let frame = frame::ethernet(from, to, EXPERIMENTAL, &[0; 64])?;

    let fault = SystemTime::now();
    let mut program = attach(&pair)?;
    let frames = frame::send(&pair.client, ETH0, FRAMES, move |_| frame.clone())?;
    let patience = Duration::from_secs(5);
    let evidence = wait::until_above("dropped packets", 0, patience, || program.runs())?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(scope["iface"]["name"] == ETH0, || {
        format!("the program is on eth0, not {scope}")
    })?;
    // Nothing tells of a TCX program that comes: it is looked for every few windows.
    let (id, name) = (
        program.id()?,
        format!("{hook} program {NAME} (id {})", program.id()?),
    );
    let named = agent.wait_for("the program to be named", NAMED, |line| {
        let summary = line.verdict()["summary"].as_str();
        line.cause() == Some(EXPECTED.cause) && summary.is_some_and(|text| text.contains(&name))
    })?;
    let told = rows(named.verdict(), "evidence")
        .any(|row| row["signal"] == hook && row["value"].as_f64() == Some(id as f64));
    agent.ensure(told, || format!("program {id} is no evidence: {named}"))?;

    frames.join()?;
    wait::until_above("dropped packets", FRAMES - 1, patience, || program.runs())?;
    program.detach(&pair.server, ETH0)?;
    EXPECTED.resolves(&agent, &map)?;
    let truth = program.runs()?;
    if hook == "tc ingress" {
        let counted = tc::filter_drops(&pair.server, ETH0)?;
        agent.compare(counted == truth, || {
            format!("the filter ran {truth} times and tc says that {counted} were dropped")
        })?;
    }
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L2", "program_drops");
    stream::ensure(&lines, said == truth, || {
        format!("the program ran {truth} times, and the agent counts {said} drops")
    })
}
