//! What XDP and tc count on an interface, by either way of attaching: every frame once.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::link;
use osi_tests::load::{self, Datagrams};
use osi_tests::skip;
use osi_tests::stream::{self, counted};
use osi_tests::topology::{Family, Pair};

const DATAGRAMS: u64 = 1000;
const PAYLOAD: usize = 200;
/// Ethernet, IPv4 and UDP headers.
const HEADERS: u64 = 14 + 20 + 8;
const ETH0: &str = "eth0";

#[test]
fn xdp_and_tcx_count_every_frame() -> Result<()> {
    scenario(
        "l2_data_link::frames::xdp_and_tcx_count_every_frame",
        &["--xdp", "generic", "--iface", ETH0],
        true,
    )
}

#[test]
fn clsact_filters_count_every_frame() -> Result<()> {
    scenario(
        "l2_data_link::frames::clsact_filters_count_every_frame",
        &["--probe-variant", "tc=clsact"],
        false,
    )
}

fn scenario(test: &str, options: &[&str], xdp: bool) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let device_before = link::received_packets(&pair.client, ETH0)?;
    let agent = Agent::watch_with(&pair.client, options)?;
    let plan = Datagrams {
        target: Pair::client_at(Family::V4, 9),
        count: DATAGRAMS,
        size: PAYLOAD,
        burst: 50,
        every: Duration::from_millis(50),
    };
    load::datagrams(&pair.server, plan)?.join()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let device = link::received_packets(&pair.client, ETH0)? - device_before;

    let packets = counted(&lines, "packets_rx", ETH0);
    let bytes = counted(&lines, "bytes_rx", ETH0);
    let sent_bytes = DATAGRAMS * (PAYLOAD as u64 + HEADERS);
    stream::ensure(
        &lines,
        (DATAGRAMS..=device).contains(&packets) && bytes >= sent_bytes,
        || {
            format!(
                "{DATAGRAMS} datagrams of {sent_bytes} bytes were sent and {device} packets arrived; tc counts {packets} and {bytes} bytes"
            )
        },
    )?;
    if xdp {
        let frames = counted(&lines, "xdp_frames", ETH0);
        stream::ensure(&lines, frames == packets, || {
            format!("tc counts {packets} packets and XDP {frames} frames")
        })?;
    }
    let malformed = counted(&lines, "xdp_malformed", ETH0);
    stream::ensure(&lines, malformed == 0, || {
        format!("{malformed} of them are called malformed")
    })
}
