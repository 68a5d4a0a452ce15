//! A neighbour that answers the second question only: the time until then is measured, and shown while it lasts.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::stream::{self, Line, sum};
use osi_tests::topology::Pair;
use osi_tests::{link, scale, skip, wait};

/// An address of the server that the client has never asked for.
const NEW: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 77);
/// Between two questions: long enough that a whole window lies between them.
const RETRY: Duration = Duration::from_millis(3500);
/// `arp_ignore`: answer nobody.
const SILENT: &str = "8";
const SIGNAL: &str = "neighbour_resolution";
/// Between two questions, where the first ones are to be in vain soon.
const SOON_MS: &str = "300";

#[test]
fn the_time_until_the_answer() -> Result<()> {
    let test = "l2_data_link::neighbour_resolution::the_time_until_the_answer";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let retry = scale::patience(RETRY);
    pair.client.set_sysctl(
        "net/ipv4/neigh/eth0/retrans_time_ms",
        &retry.as_millis().to_string(),
    )?;
    pair.server
        .ip(&["addr", "add", &format!("{NEW}/24"), "dev", "eth0"])?;
    pair.server
        .set_sysctl("net/ipv4/conf/eth0/arp_ignore", SILENT)?;
    let agent = Agent::watch(&pair.client)?;

    let asked = SystemTime::now();
    pair.client.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.send_to(b"?", (NEW, 9)).context("a datagram")?;
        Ok(())
    })?;
    // The table may have been read just before, for the first one.
    let waiting = agent.wait_for_window(asked, 2)?;
    pair.server
        .set_sysctl("net/ipv4/conf/eth0/arp_ignore", "0")?;
    agent.ensure(
        waiting.latency("L2", SIGNAL, "in_flight") == Some(1),
        || "nobody is said to be waited for".to_owned(),
    )?;
    wait::until("the neighbour has answered", 2 * RETRY, || {
        link::neighbour(&pair.client, IpAddr::V4(NEW))
    })?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;

    let count = |map: &Line| map.latency("L2", SIGNAL, "count").unwrap_or(0);
    stream::ensure_counted(&lines, "resolutions", 1, sum(&lines, count))?;
    let took = lines
        .iter()
        .find_map(|line| line.latency("L2", SIGNAL, "p50_ns"));
    let range = retry.as_nanos() as u64..2 * retry.as_nanos() as u64;
    stream::ensure(
        &lines,
        took.is_some_and(|took| range.contains(&took)),
        || format!("the answer took {retry:?} or a little more, and {took:?} ns were measured"),
    )
}

/// An entry that failed stays in the table, and when it is asked for again nothing tells when that was.
#[test]
fn one_that_had_failed_is_not_timed() -> Result<()> {
    let test = "l2_data_link::neighbour_resolution::one_that_had_failed_is_not_timed";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    pair.client
        .set_sysctl("net/ipv4/neigh/eth0/retrans_time_ms", SOON_MS)?;
    pair.server
        .ip(&["addr", "add", &format!("{NEW}/24"), "dev", "eth0"])?;
    pair.server
        .set_sysctl("net/ipv4/conf/eth0/arp_ignore", SILENT)?;
    let agent = Agent::watch(&pair.client)?;
    let ask = || {
        pair.client.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(b"?", (NEW, 9)).context("a datagram")?;
            Ok(())
        })
    };
    ask()?;
    wait::until("the entry has failed", 2 * RETRY, || {
        let state = link::neighbour_state(&pair.client, IpAddr::V4(NEW))?;
        Ok((state.as_deref() == Some("FAILED")).then_some(()))
    })?;
    pair.server
        .set_sysctl("net/ipv4/conf/eth0/arp_ignore", "0")?;
    ask()?;
    wait::until("the neighbour has answered", 2 * RETRY, || {
        link::neighbour(&pair.client, IpAddr::V4(NEW))
    })?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let count = |map: &Line| map.latency("L2", SIGNAL, "count").unwrap_or(0);
    stream::ensure_counted(&lines, "resolutions", 0, sum(&lines, count))
}
