//! A policy of the server asks for protection that the client does not give; and a tunnel whose far end no route leads to.
//!
//! First evidence: the first `XfrmInTmplMismatch`; the first send error of the tunnel.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::frame::{self, EXPERIMENTAL};
use osi_tests::load::{self, Datagrams};
use osi_tests::netns::Namespace;
use osi_tests::stream::{self, growth, rows};
use osi_tests::topology::{Family, Pair};
use osi_tests::{command, link, skip, wait};

const EXPECTED: Expected = Expected {
    cause: "tunnel_or_ipsec_drops",
    layer: "L3",
    within: STATISTICAL,
    beside: &[],
};

const PACKETS: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn not_protected() -> Result<()> {
    let test = "l3_network::tunnel_or_ipsec_drops::not_protected";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let (from, to) = (Pair::CLIENT.to_string(), Pair::SERVER.to_string());
    let ends = ["src", &from, "dst", &to];
    let protection = ["proto", "esp", "mode", "transport"];
    let policy = [
        &["xfrm", "policy", "add"],
        &ends[..],
        &["dir", "in", "tmpl"],
        &ends,
        &protection,
    ]
    .concat();
    if pair.server.ip(&policy).is_err() || count(&pair.server, MISMATCH).is_err() {
        return skip::skip(
            test,
            "this kernel has no IPsec, or does not count what it refuses",
        );
    }
    let agent = Agent::watch(&pair.server)?;

    let fault = SystemTime::now();
    let plan = Datagrams {
        target: Pair::server_at(Family::V4, 9),
        count: PACKETS,
        size: 100,
        burst: 10,
        every: Duration::from_millis(100),
    };
    let datagrams = load::datagrams(&pair.client, plan)?;
    let refused = || count(&pair.server, MISMATCH);
    let evidence = wait::until_above("refused packets", 0, PATIENCE, refused)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let named = rows(map.verdict(), "evidence").any(|row| row["signal"] == MISMATCH);
    agent.ensure(named, || {
        format!("{MISMATCH} is no evidence: {}", map.verdict())
    })?;

    datagrams.join()?;
    wait::until_above("refused packets", PACKETS - 1, PATIENCE, refused)?;
    let truth = refused()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L3", "ipsec_received_errors");
    stream::ensure(&lines, truth == PACKETS && said == truth, || {
        format!(
            "{PACKETS} datagrams were sent, the kernel refused {truth} and the agent says {said}"
        )
    })
}

const MISMATCH: &str = "XfrmInTmplMismatch";

/// A counter of `/proc/net/xfrm_stat`.
fn count(host: &Namespace, name: &str) -> Result<u64> {
    let text = command::output(host.command("cat")?.arg("/proc/net/xfrm_stat"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line
        .with_context(|| format!("no {name} in {text}"))?
        .trim()
        .parse()?)
}

#[test]
fn no_way_to_the_far_end() -> Result<()> {
    let test = "l3_network::tunnel_or_ipsec_drops::no_way_to_the_far_end";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let far = [
        "type",
        "vxlan",
        "id",
        "7",
        "remote",
        "10.77.0.1",
        "dstport",
        "4789",
    ];
    if pair
        .client
        .ip(&[&["link", "add", TUNNEL][..], &far].concat())
        .is_err()
    {
        return skip::skip(test, "this kernel has no VXLAN");
    }
    pair.client
        .ip(&["link", "set", TUNNEL, "addrgenmode", "none", "up"])?;
    let agent = Agent::watch(&pair.client)?;
    let before = link::send_errors(&pair.client, TUNNEL)?;

    let fault = SystemTime::now();
    let ends = (&pair.client, TUNNEL);
    let mut frame = frame::ethernet(ends, ends, EXPERIMENTAL, &[0; 64])?;
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    let frames = frame::send(&pair.client, TUNNEL, PACKETS, move |_| frame.clone())?;
    let lost = || Ok(link::send_errors(&pair.client, TUNNEL)? - before);
    let evidence = wait::until_above("send errors", 0, PATIENCE, lost)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(scope["iface"]["name"] == TUNNEL, || {
        format!("the tunnel is {TUNNEL}, not {scope}")
    })?;

    frames.join()?;
    let truth = lost()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L3", "tunnel_errors");
    stream::ensure(&lines, truth >= PACKETS && said == truth, || {
        format!("{PACKETS} frames were sent, ip counts {truth} errors and the agent {said}")
    })
}

const TUNNEL: &str = "vxlan0";
