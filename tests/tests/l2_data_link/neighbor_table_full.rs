//! The neighbour table takes 16 entries, and the client's link has more neighbours than that.
//!
//! First evidence: the first `table_fulls` of `/proc/net/stat/arp_cache`.

use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, HARD};
use osi_tests::machine::Setting;
use osi_tests::netns::Namespace;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::Pair;
use osi_tests::{command, wait};

const EXPECTED: Expected = Expected {
    cause: "neighbor_table_full",
    layer: "L2",
    within: HARD,
    beside: &[],
};

const SETTINGS: [&str; 2] = ["gc_thresh2", "gc_thresh3"];
const LIMIT: u64 = 16;
/// The kernel makes room by forgetting entries that are older than five seconds, so they are renewed.
const ROUNDS: u8 = 5;

#[test]
fn neighbor_table_full() -> Result<()> {
    let Some(_turn) = skip::ready_alone(
        "l2_data_link::neighbor_table_full::neighbor_table_full",
        &[Need::OwnMachine("net.ipv4.neigh.default.gc_thresh3")],
    )?
    else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let before = overflows()?;
    // A namespace watched alone is concerned only where the kernel says whose packets they were.
    let agent = Agent::watch_all()?;

    let fault = SystemTime::now();
    let change = |name| {
        let key = format!("net/ipv4/neigh/default/{name}");
        Setting::change(&key, &LIMIT.to_string())
    };
    let small = SETTINGS
        .map(change)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut evidence = None;
    for round in 0..ROUNDS {
        know_neighbours(&pair.client, round);
        pair.client.run(|| {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            // The kernel may or may not tell that it had no room.
            let _told = socket.send_to(b"o", "10.1.0.50:9");
            Ok(())
        })?;
        if evidence.is_none() {
            let lost = || Ok(overflows()? - before);
            evidence = Some(wait::until_above(
                "overflows",
                0,
                Duration::from_secs(5),
                lost,
            )?);
        }
        agent.wait_for_window(SystemTime::now(), 1)?;
    }
    let map = EXPECTED.named(&agent, fault, evidence.context("no round was made")?)?;

    small.into_iter().try_for_each(Setting::restore)?;
    EXPECTED.resolves(&agent, &map)?;
    let truth = overflows()? - before;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L2", "neighbour_overflows");
    stream::ensure(&lines, said == truth, || {
        format!("the kernel counts {truth} overflows and the agent says {said}")
    })
}

/// Notes more neighbours than the table takes, each time with another hardware address. Those beyond it are refused.
fn know_neighbours(host: &Namespace, round: u8) {
    let orders: Vec<_> = (100..100 + 2 * LIMIT)
        .map(|last| {
            format!(
                "neighbour replace 10.1.0.{last} lladdr 02:00:00:00:{round:02x}:{last:02x} nud reachable dev eth0"
            )
        })
        .collect();
    let mut ip = std::process::Command::new("ip");
    ip.args(["-n", host.name(), "-force", "-batch", "-"]);
    let _refused = command::output_with_input(&mut ip, &orders.join("\n"));
}

/// The last column of both families' tables, all CPUs together.
fn overflows() -> Result<u64> {
    let mut sum = 0;
    for family in ["arp", "ndisc"] {
        let text = fs::read_to_string(format!("/proc/net/stat/{family}_cache"))?;
        for cpu in text.lines().skip(1) {
            let last = cpu.split_whitespace().last().context("an empty line")?;
            sum += u64::from_str_radix(last, 16)?;
        }
    }
    Ok(sum)
}
