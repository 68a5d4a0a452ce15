//! Programs on every packet of an interface.

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::bpf::Runs;
use osi_tests::foreign::{self, Foreign, Hook};
use osi_tests::kernel;
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};

use super::{DATAGRAMS, beside, judge, of_name, programs, send};

const ETH0: &str = "eth0";

#[test]
fn each_packet_beside_an_empty_program() -> Result<()> {
    let test = "safety::cost::packets::each_packet_beside_an_empty_program";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("bpftool")])? else {
        return Ok(());
    };
    if !kernel::is_at_least(6, 6)? {
        return skip::skip(test, "TCX, where twins stand side by side, is since 6.6");
    }
    let pair = Pair::build()?;
    let _counted = foreign::counting()?;
    for (hook, program) in [
        (Hook::TcxIngressNext, "osi_tc_ingress"),
        (Hook::TcxEgressNext, "osi_tc_egress"),
    ] {
        let agent = Agent::watch(&pair.client)?;
        let programs = programs(&agent)?;
        let twin = Foreign::on_interface(&pair.client, ETH0, hook)?;
        let (sender, target) = if hook == Hook::TcxEgressNext {
            (&pair.client, Pair::server_at(Family::V4, 9))
        } else {
            (&pair.server, Pair::client_at(Family::V4, 9))
        };
        let runs = || Runs::of(twin.id()?);
        beside(&programs, program, DATAGRAMS, runs, || send(sender, target))?;
        agent.stop()?;
    }
    Ok(())
}

/// An interface takes one program of XDP: the twin has its turn when the agent is gone.
#[test]
fn each_frame_and_then_an_empty_program() -> Result<()> {
    let test = "safety::cost::packets::each_frame_and_then_an_empty_program";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("bpftool")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let _counted = foreign::counting()?;
    let agent = Agent::watch_with(&pair.client, &["--xdp", "generic", "--iface", ETH0])?;
    let programs = programs(&agent)?;
    let ours = || of_name(&programs, "osi_xdp");
    let before = ours()?;
    let arrive = || send(&pair.server, Pair::client_at(Family::V4, 9));
    arrive()?;
    let ours = ours()?.since(&before);
    agent.stop()?;

    let twin = Foreign::on_interface(&pair.client, ETH0, Hook::Xdp)?;
    arrive()?;
    judge("osi_xdp", DATAGRAMS, &ours, &Runs::of(twin.id()?)?)
}
