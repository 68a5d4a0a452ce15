//! A policy of the server asks for protection that the client does not give; the two ends have different keys; and no route
//! leads to a tunnel's far end, or it has none.
//!
//! First evidence: the server's first refused packet in `/proc/net/xfrm_stat`; the first send error or drop of the tunnel.

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
    ipsec(test, "XfrmInTmplMismatch", |pair| {
        policy(&pair.server, "in")
    })
}

#[test]
fn wrong_key() -> Result<()> {
    let test = "l3_network::tunnel_or_ipsec_drops::wrong_key";
    ipsec(test, "XfrmInStateProtoError", |pair| {
        let keys = [(&pair.client, KEY), (&pair.server, OTHER_KEY)];
        for (host, key) in keys {
            state(host, key)?;
        }
        policy(&pair.client, "out")
    })
}

/// The same at both ends.
const CIPHER_KEY: &str = "0x000102030405060708090a0b0c0d0e0f";
/// Of HMAC-SHA1, one for each end.
const KEY: &str = "0x000102030405060708090a0b0c0d0e0f10111213";
const OTHER_KEY: &str = "0xff0102030405060708090a0b0c0d0e0f10111213";

/// What the client sends the server is, or is to be, protected in this mode.
const PROTECTION: [&str; 4] = ["proto", "esp", "mode", "transport"];

fn policy(host: &Namespace, direction: &str) -> Result<()> {
    let (from, to) = (Pair::CLIENT.to_string(), Pair::SERVER.to_string());
    let ends = ["src", &from, "dst", &to];
    let template = ["dir", direction, "tmpl"];
    let words = [
        &["xfrm", "policy", "add"],
        &ends[..],
        &template,
        &ends,
        &PROTECTION,
    ];
    host.ip(&words.concat()).map(drop)
}

fn state(host: &Namespace, key: &str) -> Result<()> {
    let (from, to) = (Pair::CLIENT.to_string(), Pair::SERVER.to_string());
    let ends = ["src", &from, "dst", &to, "spi", "0x1000"];
    let algorithms = ["auth", "hmac(sha1)", key, "enc", "cbc(aes)", CIPHER_KEY];
    let words = [
        &["xfrm", "state", "add"],
        &ends[..],
        &PROTECTION,
        &algorithms,
    ];
    host.ip(&words.concat()).map(drop)
}

/// The client sends datagrams that the server refuses, and the server's kernel counts each by this name.
fn ipsec(test: &str, counter: &str, set_up: impl FnOnce(&Pair) -> Result<()>) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let refused = || count(&pair.server, counter);
    if let Err(error) = set_up(&pair).and_then(|()| refused()) {
        return skip::skip(
            test,
            &format!("this kernel lacks a part of IPsec: {error:#}"),
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
    let evidence = wait::until_above("refused packets", 0, PATIENCE, refused)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let named = rows(map.verdict(), "evidence").any(|row| row["signal"] == counter);
    agent.ensure(named, || {
        format!("{counter} is no evidence: {}", map.verdict())
    })?;

    datagrams.join()?;
    wait::until_above("refused packets", PACKETS - 1, PATIENCE, refused)?;
    let truth = refused()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L3", "ipsec_received_errors");
    stream::ensure(&lines, truth == PACKETS && said == truth, || {
        format!("{PACKETS} datagrams were sent, {counter} counts {truth} and the agent {said}")
    })
}

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
    tunnel(test, &["remote", "10.77.0.1"], link::send_errors)
}

/// The driver knows nobody to send to.
#[test]
fn no_far_end() -> Result<()> {
    let test = "l3_network::tunnel_or_ipsec_drops::no_far_end";
    tunnel(test, &[], link::send_drops)
}

/// The client sends frames into a tunnel with this far end, and the kernel counts each of them here.
fn tunnel(test: &str, far: &[&str], lost: fn(&Namespace, &str) -> Result<u64>) -> Result<()> {
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let kind = ["type", "vxlan", "id", "7", "dstport", "4789"];
    if pair
        .client
        .ip(&[&["link", "add", TUNNEL][..], &kind, far].concat())
        .is_err()
    {
        return skip::skip(test, "this kernel has no VXLAN");
    }
    // IPv6 would send something of its own, at a moment of its own.
    let setting = format!("net/ipv6/conf/{TUNNEL}/disable_ipv6");
    pair.client.set_sysctl(&setting, "1")?;
    link::set_up(&pair.client, TUNNEL, true)?;
    let agent = Agent::watch(&pair.client)?;

    let fault = SystemTime::now();
    let ends = (&pair.client, TUNNEL);
    let mut frame = frame::ethernet(ends, ends, EXPERIMENTAL, &[0; 64])?;
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    let frames = frame::send(&pair.client, TUNNEL, PACKETS, move |_| frame.clone())?;
    let lost = || lost(&pair.client, TUNNEL);
    let evidence = wait::until_above("lost packets", 0, PATIENCE, lost)?;
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
    stream::ensure(&lines, truth == PACKETS && said == truth, || {
        format!("{PACKETS} frames were sent, ip counts {truth} lost and the agent {said}")
    })
}

const TUNNEL: &str = "vxlan0";
