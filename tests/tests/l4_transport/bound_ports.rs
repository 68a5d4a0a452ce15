//! Sockets that are bound and do nothing take ports away from every destination: the pool is as large as what the kernel gives
//! out, or said to be a lower bound where the kernel shows no such sockets.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::lab_program::Holder;
use osi_tests::server::{Behaviour, Server};
use osi_tests::stream::Line;
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, kernel, report, skip};
use rustix::io::Errno;
use rustix::net::{SocketType, bind};

use super::udp_ports::sockets;

const PORTS: u64 = 100;
const BOUND: u64 = 30;
const REFUSED: u64 = 5;

#[test]
fn bound_sockets_take_ports_from_every_pool() -> Result<()> {
    let test = "l4_transport::bound_ports::bound_sockets_take_ports_from_every_pool";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 7);
    pair.client.give_out_ports(PORTS)?;
    let _server = Server::start(&pair.server, target, Behaviour::Hold)?;
    let agent = Agent::watch(&pair.client)?;

    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let (bound, none) = sockets(
        &pair.client,
        BOUND as usize,
        SocketType::STREAM,
        Errno::ADDRINUSE,
        |socket| bind(socket, &any),
    )?;
    ensure!(
        (bound.len() as u64, none) == (BOUND, 0),
        "{} sockets are bound",
        bound.len()
    );
    let free = PORTS - BOUND;
    let program = env!("CARGO_BIN_EXE_hold-connections");
    let holder = Holder::start(&pair.client, program, target, free + REFUSED)?;
    ensure!(
        (holder.held, holder.refused) == (free, REFUSED),
        "{} connections found a port and {} none",
        holder.held,
        holder.refused
    );
    let listed = counters::tcp_sockets(&pair.client, &format!("dst {target}"))?;
    let is_shown = kernel::is_at_least(6, 8)?;
    let full = Pool {
        used: listed as f64,
        capacity: if is_shown { free } else { PORTS } as f64,
        lower_bound: !is_shown,
    };
    agent.wait_for(&format!("{full:?}"), INTERVAL * 4, |line| {
        Pool::of(line) == Some(full)
    })?;
    report::say(
        "compared",
        &format!(
            "{} of {PORTS} ports could be had beside {BOUND} bound sockets; the agent says {full:?}",
            holder.held
        ),
    )?;
    drop(bound);
    let wide = Pool {
        capacity: PORTS as f64,
        ..full
    };
    agent.wait_for(&format!("{wide:?}"), INTERVAL * 4, |line| {
        Pool::of(line) == Some(wide)
    })?;
    agent.stop().map(drop)
}

/// The only pool of the client.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pool {
    used: f64,
    capacity: f64,
    lower_bound: bool,
}

impl Pool {
    fn of(map: &Line) -> Option<Self> {
        let row = map.meters("L4", "ephemeral_ports").next()?;
        Some(Self {
            used: row["used"].as_f64()?,
            capacity: row["capacity"].as_f64()?,
            lower_bound: row["lower_bound"].as_bool()?,
        })
    }
}
