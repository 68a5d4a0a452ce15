//! The real servers and the lab's own programs do what the scenarios ask of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use osi_tests::daemon::{self, Nginx};
use osi_tests::lab_program::Holder;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, scale, wait};

#[test]
fn nginx_answers_through_a_reload_and_comes_back_after_a_restart() -> Result<()> {
    let Some(_turn) = skip::ready(
        "lab::programs::nginx_answers_through_a_reload_and_comes_back_after_a_restart",
        &[Need::Program("nginx")],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let plan = Plan {
        target: Pair::server_at(Family::V4, 80),
        connections: 200,
        per_second: 200,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Http,
    };
    let mut nginx = Nginx::start(&pair.server, plan.target)?;
    let traffic = load::connections(&pair.client, plan)?;
    nginx.reload()?;
    let report = traffic.join()?;
    ensure!(
        report.completed == 200,
        "{} of 200 requests survived a reload: {:?}",
        report.completed,
        report.errors
    );
    nginx.restart()?;
    let report = load::connections(
        &pair.client,
        Plan {
            connections: 20,
            ..plan
        },
    )?
    .join()?;
    ensure!(
        report.completed == 20,
        "{} of 20 requests after a restart: {:?}",
        report.completed,
        report.errors
    );
    Ok(())
}

#[test]
fn iperf3_fills_a_link() -> Result<()> {
    let Some(_turn) = skip::ready_alone(
        "lab::programs::iperf3_fills_a_link",
        &[Need::Program("iperf3")],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V6, 5201);
    let server = daemon::iperf3_server(&pair.server, target.port())?;
    let bytes = daemon::iperf3_bytes(&pair.client, target, 1)?;
    drop(server);
    ensure!(
        bytes > scale::rate(10_000_000),
        "only {bytes} bytes were carried in a second"
    );
    Ok(())
}

#[test]
fn a_thousand_exchanges_a_second_are_clean() -> Result<()> {
    let Some(_turn) = skip::ready_alone(
        "lab::programs::a_thousand_exchanges_a_second_are_clean",
        &[],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V6, 7);
    let server = Server::start(&pair.server, target, Behaviour::Echo)?;
    let plan = Plan {
        target,
        connections: 2000,
        per_second: 1000,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    let report = load::connections(&pair.client, plan)?.join()?;
    ensure!(
        report.completed == 2000 && server.accepted() == 2000,
        "{} were clean: {:?}",
        report.completed,
        report.errors
    );
    let left = counters::tcp_sockets(&pair.client, &format!("dst {target}"))?;
    ensure!(left < 20, "{left} ports of the client stay in use");
    Ok(())
}

#[test]
fn a_holder_uses_up_the_ports_and_gives_them_back() -> Result<()> {
    let Some(_turn) = skip::ready(
        "lab::programs::a_holder_uses_up_the_ports_and_gives_them_back",
        &[],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    pair.client.give_out_ports(200)?;
    for family in [Family::V4, Family::V6] {
        let target = Pair::server_at(family, 7);
        let server = Server::start(&pair.server, target, Behaviour::Hold)?;
        let holder = Holder::start(
            &pair.client,
            env!("CARGO_BIN_EXE_hold-connections"),
            target,
            210,
        )?;
        ensure!(
            (holder.held, holder.refused) == (200, 10),
            "{} held, {} refused",
            holder.held,
            holder.refused
        );
        let filter = format!("dst {target}");
        let used = counters::tcp_sockets(&pair.client, &filter)?;
        ensure!(used == 200, "ss counts {used} sockets");
        holder.release(&pair.client, target, server)?;
        wait::until("the ports are free again", Duration::from_secs(5), || {
            Ok((counters::tcp_sockets(&pair.client, &filter)? == 0).then_some(()))
        })?;
    }
    Ok(())
}
