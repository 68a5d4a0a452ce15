//! Two hosts with one address, seen by a third host over IPv4 and by one of the two over IPv6; and an address that moves.
//!
//! First evidence: the client's entry for the address is back at the second host's hardware address, and `dadfailed`.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{self, Expected, HARD};
use osi_tests::netns::Namespace;
use osi_tests::stream::{self, Line, growth, rows};
use osi_tests::topology::{Family, Pair, Switched};
use osi_tests::{command, frame, link, scale, skip, wait};
use serde_json::Value;

const EXPECTED: Expected = Expected {
    cause: "duplicate_address",
    layer: "L2",
    within: HARD,
    beside: &[],
};

const ADDRESS: Ipv4Addr = Switched::SERVER;
const PATIENCE: Duration = Duration::from_secs(5);
/// The address must stay where it is for 30 s before it is nobody else's; the rest is what every finding takes to close.
const QUIET: Duration = Duration::from_secs(31);

#[test]
fn two_hosts_answer() -> Result<()> {
    let Some(_turn) = skip::ready("l2_data_link::duplicate_address::two_hosts_answer", &[])? else {
        return Ok(());
    };
    let lab = build()?;
    let agent = Agent::watch(&lab.client)?;
    agent.wait_for_window(SystemTime::now(), 2)?;

    let fault = SystemTime::now();
    take_address(&lab.spare)?;
    let mut evidence = fault;
    let claims = [&lab.spare, &lab.server, &lab.spare];
    for host in claims {
        evidence = announce(host, &lab.client)?;
        // A window that begins after the change, and ends.
        agent.wait_for_window(evidence, 2)?;
    }
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    let here = scope["remote"] == ADDRESS.to_string() && scope["iface"]["name"] == "eth0";
    agent.ensure(here, || {
        format!("{ADDRESS} on eth0 is there twice, not {scope}")
    })?;
    let said = value(&map, "neighbour_moves");
    agent.compare(said == Some(claims.len() as f64), || {
        format!(
            "the entry changed {} times and the verdict says {said:?}",
            claims.len()
        )
    })?;
    let summary = map.verdict()["summary"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for host in [&lab.server, &lab.spare] {
        let name = hardware(host)?;
        agent.ensure(summary.contains(&name), || {
            format!("{name} is not named: {summary}")
        })?;
    }

    let prefix = format!("{ADDRESS}/24");
    lab.spare.ip(&["address", "del", &prefix, "dev", "eth0"])?;
    announce(&lab.server, &lab.client)?;
    thread::sleep(scale::patience(QUIET));
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let (truth, said) = (
        claims.len() as u64 + 1,
        growth(&lines, "L2", "neighbour_moves"),
    );
    stream::ensure(&lines, said == truth, || {
        format!("the entry changed {truth} times and the agent counts {said}")
    })
}

#[test]
fn fail_over_and_back() -> Result<()> {
    let Some(_turn) = skip::ready("l2_data_link::duplicate_address::fail_over_and_back", &[])?
    else {
        return Ok(());
    };
    let lab = build()?;
    let agent = Agent::watch(&lab.client)?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let prefix = format!("{ADDRESS}/24");
    for (from, to) in [(&lab.server, &lab.spare), (&lab.spare, &lab.server)] {
        from.ip(&["address", "del", &prefix, "dev", "eth0"])?;
        take_address(to)?;
        let moved = announce(to, &lab.client)?;
        agent.wait_for_window(moved, 3)?;
    }
    let lines = expect::calm(agent)?;
    let said = growth(&lines, "L2", "neighbour_moves");
    stream::ensure(&lines, said == 2, || {
        format!("the address moved twice and the agent counts {said}")
    })
}

#[test]
fn detection_fails() -> Result<()> {
    let Some(_turn) = skip::ready("l2_data_link::duplicate_address::detection_fails", &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let taken = Pair::server_at(Family::V6, 0).ip();
    let prefix = format!("{taken}/64");
    let agent = Agent::watch(&pair.client)?;

    let fault = SystemTime::now();
    pair.client
        .ip(&["address", "add", &prefix, "dev", "eth0"])?;
    let evidence = wait::until("the detection fails", PATIENCE, || {
        Ok((failed(&pair.client)? == [taken]).then(SystemTime::now))
    })?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    let here = scope["local"] == taken.to_string() && scope["iface"]["name"] == "eth0";
    agent.ensure(here, || format!("{taken} of eth0 is taken, not {scope}"))?;
    let said = map.meters("L2", "dad_failed_addresses").next();
    let used = said.map_or(&Value::Null, |meter| &meter["used"]);
    agent.compare(used.as_f64() == Some(1.0), || {
        format!("ip lists one address as dadfailed and the agent {used}")
    })?;

    pair.client
        .ip(&["address", "del", &prefix, "dev", "eth0"])?;
    EXPECTED.resolves(&agent, &map)?;
    EXPECTED.stop(agent).map(drop)
}

/// The server asks for the client no more, as it would some seconds after it was last spoken to: that moves the client's
/// entry, too.
fn build() -> Result<Switched> {
    let lab = Switched::build()?;
    let (client, own) = (Switched::CLIENT.to_string(), hardware(&lab.client)?);
    let entry = ["lladdr", &own, "nud", "permanent", "dev", "eth0"];
    lab.server
        .ip(&[&["neigh", "replace", &client][..], &entry].concat())?;
    Ok(lab)
}

fn take_address(host: &Namespace) -> Result<()> {
    let prefix = format!("{ADDRESS}/24");
    host.ip(&["address", "add", &prefix, "dev", "eth0"])
        .map(drop)
}

/// The host announces the address; when `ip neigh` of the client shows that it has it.
fn announce(host: &Namespace, client: &Namespace) -> Result<SystemTime> {
    let announcement = frame::announcement((host, "eth0"), ADDRESS)?;
    frame::send(host, "eth0", 1, move |_| announcement.clone())?.join()?;
    let own = hardware(host)?;
    wait::until("the client notes who announced", PATIENCE, || {
        let noted = link::neighbour(client, IpAddr::V4(ADDRESS))?;
        Ok((noted.as_ref() == Some(&own)).then(SystemTime::now))
    })
}

/// The hardware address of a host as tools write it.
fn hardware(host: &Namespace) -> Result<String> {
    let bytes = link::address(host, "eth0")?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).join(":"))
}

/// The value of a row of the verdict's evidence.
fn value(map: &Line, signal: &str) -> Option<f64> {
    let mut evidence = rows(map.verdict(), "evidence");
    evidence.find(|row| row["signal"] == signal)?["value"].as_f64()
}

/// Addresses that `ip` calls duplicates.
fn failed(host: &Namespace) -> Result<Vec<IpAddr>> {
    let mut ip = Command::new("ip");
    ip.args(["-n", host.name(), "-6", "-j", "addr", "show", "dadfailed"]);
    let links = command::json(&mut ip)?;
    let links = links.as_array().into_iter().flatten();
    let addresses = links.flat_map(|link| rows(link, "addr_info"));
    let local = addresses.filter_map(|address| address["local"].as_str());
    Ok(local
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?)
}
