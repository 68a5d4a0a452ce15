//! An interface that is deleted and made again under the same name and index is another one: it is watched from zero.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Datagrams};
use osi_tests::stream::{self, Line, counted, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::{link, scale, skip};

const ETH0: &str = "eth0";
/// Datagrams over the first interface: more than the second one carries, so that nothing of it could hide in a difference.
const BEFORE: u64 = 1000;
/// Datagrams over the second one, by direction as the client sees it.
const RECEIVED: u64 = 300;
const SENT: u64 = 200;
const SIZE: usize = 1000;
/// The size class of such a datagram with its headers; nothing else on the link is as large.
const CLASS: u64 = 2048;

#[test]
fn under_the_same_index_with_links() -> Result<()> {
    scenario("safety::reborn::under_the_same_index_with_links", &[])
}

#[test]
fn under_the_same_index_with_filters() -> Result<()> {
    scenario(
        "safety::reborn::under_the_same_index_with_filters",
        &["--probe-variant", "tc=clsact"],
    )
}

fn scenario(test: &str, options: &[&str]) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let index = link::index(&pair.client, ETH0)?;
    let agent = Agent::watch_with(&pair.client, options)?;
    send(&pair, BEFORE, BEFORE)?;

    // Right after a window, so that the agent sees neither the end of the one nor the beginning of the other.
    agent.wait_for_window(SystemTime::now(), 1)?;
    pair.replace_link()?;
    let replaced = SystemTime::now();
    ensure!(
        link::index(&pair.client, ETH0)? == index,
        "the new {ETH0} has another index than {index}"
    );
    let (device_received, device_sent) = (
        link::received_packets(&pair.client, ETH0)?,
        link::sent_packets(&pair.client, ETH0)?,
    );
    ensure!(
        device_received < BEFORE && device_sent < BEFORE,
        "the new {ETH0} has counted {device_received} and {device_sent} packets already"
    );
    // One window to notice it, and one to begin with.
    let settled = agent.wait_for_window(replaced, 2)?.time()?;
    send(&pair, RECEIVED, SENT)?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let maps = agent.fault_maps_after(replaced)?;
    let lines = agent.stop()?;

    for (direction, count, counter, device) in [
        (
            "rx",
            RECEIVED,
            "packets_rx",
            link::received_packets(&pair.client, ETH0)?,
        ),
        (
            "tx",
            SENT,
            "packets_tx",
            link::sent_packets(&pair.client, ETH0)?,
        ),
    ] {
        let told = sum(&maps, |map| map.packets_up_to(CLASS, ETH0, direction));
        let all = counted(&maps, counter, ETH0);
        stream::ensure(
            &maps,
            told == count && all >= count && all <= device,
            || {
                format!(
                    "{count} datagrams went {direction} over the new {ETH0}, which counts {device} packets; tc counts {told} of their size and {all} in all"
                )
            },
        )?;
        let bits: f64 = maps.iter().map(|map| throughput(map, direction)).sum();
        // A rate is that of the time between two readings, which on a slow machine may be half a window apart from its ends.
        let most = (2 * device * (SIZE as u64 + 100) * 8) as f64;
        stream::ensure(&maps, bits <= most, || {
            format!(
                "{device} packets went {direction} over the new {ETH0} and {bits:.0} bits are told"
            )
        })?;
    }
    // The new link is down until its other end is up, which takes more than a window on a slow machine.
    let findings = lines
        .iter()
        .filter(|line| line.kind() == "finding")
        .filter(|line| !(scale::is_slow() && line.value()["cause"] == "link_down"))
        .count();
    stream::ensure(&lines, findings == 0, || {
        format!("nothing is broken, and there are {findings} findings")
    })?;
    // What was on its way when the old one went is a true drop; later nothing is.
    let drops = sum(&maps, |map| match map.time() {
        Ok(time) if time > settled => map.layer("L2")["drops"].as_u64().unwrap_or(0),
        Ok(_) | Err(_) => 0,
    });
    stream::ensure(&maps, drops == 0, || {
        format!("nothing was dropped, and {drops} drops are told")
    })
}

/// Datagrams over the link, from both ends.
fn send(pair: &Pair, to_client: u64, to_server: u64) -> Result<()> {
    let plan = |target, count| Datagrams {
        target,
        count,
        size: SIZE,
        burst: 50,
        every: Duration::from_millis(20),
    };
    let received = load::datagrams(
        &pair.server,
        plan(Pair::client_at(Family::V4, 9), to_client),
    )?;
    let sent = load::datagrams(
        &pair.client,
        plan(Pair::server_at(Family::V4, 9), to_server),
    )?;
    received.join().and_then(|()| sent.join())
}

/// The bits of a throughput row over its window.
fn throughput(map: &Line, direction: &str) -> f64 {
    let id = format!("link_throughput_{direction}");
    let window = map.value()["window_ns"].as_f64().unwrap_or(0.0);
    map.meters("L1", &id)
        .filter(|row| row["scope"]["iface"]["name"] == ETH0)
        .filter_map(|row| row["used"].as_f64())
        .map(|used| used * window / 1e9)
        .sum()
}
