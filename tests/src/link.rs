//! Interfaces: taking them down and up, and what the kernel counted on them.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command;
use crate::netns::Namespace;

/// Sets an interface up or down.
pub fn set_up(host: &Namespace, interface: &str, up: bool) -> Result<()> {
    host.ip(&["link", "set", interface, if up { "up" } else { "down" }])
        .map(drop)
}

/// Makes every packet of a stream one segment, so that one lost packet is one lost segment.
pub fn disable_segmentation_offload(host: &Namespace, interface: &str) -> Result<()> {
    host.ip(&["link", "set", "dev", interface, "gso_max_segs", "1"])
        .map(drop)
}

/// The interface's index.
pub fn index(host: &Namespace, interface: &str) -> Result<u64> {
    show(host, interface)?["ifindex"]
        .as_u64()
        .context("ip prints no ifindex")
}

/// Whether the interface has a carrier.
pub fn has_carrier(host: &Namespace, interface: &str) -> Result<bool> {
    let link = show(host, interface)?;
    let flags = link["flags"].as_array().context("ip prints no flags")?;
    Ok(!flags.iter().any(|flag| flag == "NO-CARRIER"))
}

/// The interface's hardware address.
pub fn address(host: &Namespace, interface: &str) -> Result<[u8; 6]> {
    let link = show(host, interface)?;
    let text = link["address"].as_str().context("ip prints no address")?;
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<std::result::Result<_, _>>()?;
    <[u8; 6]>::try_from(bytes)
        .ok()
        .context("an address has six bytes")
}

/// The hardware address of a neighbour as the host has noted it, if it has.
pub fn neighbour(host: &Namespace, address: IpAddr) -> Result<Option<String>> {
    let entry = neighbour_entry(host, address)?;
    Ok(entry["lladdr"].as_str().map(str::to_owned))
}

/// The state of a neighbour's entry, such as `FAILED`; none where it has none.
pub fn neighbour_state(host: &Namespace, address: IpAddr) -> Result<Option<String>> {
    let entry = neighbour_entry(host, address)?;
    Ok(entry["state"][0].as_str().map(str::to_owned))
}

fn neighbour_entry(host: &Namespace, address: IpAddr) -> Result<Value> {
    let all = command::json(Command::new("ip").args([
        "-n",
        host.name(),
        "-j",
        "neigh",
        "show",
        "to",
        &address.to_string(),
    ]))?;
    Ok(all[0].clone())
}

/// Times that the carrier came or went since the interface exists.
pub fn carrier_changes(host: &Namespace, interface: &str) -> Result<u64> {
    counter(host, interface, "tx", "carrier_changes")
}

/// Bytes that the device counted as sent.
pub fn sent_bytes(host: &Namespace, interface: &str) -> Result<u64> {
    counter(host, interface, "tx", "bytes")
}

/// Bytes that the device counted as received.
pub fn received_bytes(host: &Namespace, interface: &str) -> Result<u64> {
    counter(host, interface, "rx", "bytes")
}

/// Packets that the device counted as received.
pub fn received_packets(host: &Namespace, interface: &str) -> Result<u64> {
    counter(host, interface, "rx", "packets")
}

/// Packets that were received and dropped before anything on the host took them.
pub fn dropped_packets(host: &Namespace, interface: &str) -> Result<u64> {
    counter(host, interface, "rx", "dropped")
}

/// Packets that the device could not send.
pub fn send_errors(host: &Namespace, interface: &str) -> Result<u64> {
    counter(host, interface, "tx", "errors")
}

/// Packets that the device dropped instead of sending them.
pub fn send_drops(host: &Namespace, interface: &str) -> Result<u64> {
    counter(host, interface, "tx", "dropped")
}

/// Packets that the device counted as sent.
pub fn sent_packets(host: &Namespace, interface: &str) -> Result<u64> {
    counter(host, interface, "tx", "packets")
}

/// The id of the XDP program on it, whoever's.
pub fn xdp_program(host: &Namespace, interface: &str) -> Result<Option<u64>> {
    Ok(show(host, interface)?["xdp"]["prog"]["id"].as_u64())
}

/// Wires two hosts together; both ends are down and have no address.
pub fn add_veth(left: (&Namespace, &str), right: (&Namespace, &str)) -> Result<()> {
    let ((left, left_end), (right, right_end)) = (left, right);
    left.ip(&[
        "link",
        "add",
        left_end,
        "type",
        "veth",
        "peer",
        "name",
        right_end,
        "netns",
        right.name(),
    ])
    .map(drop)
}

fn counter(host: &Namespace, interface: &str, direction: &str, what: &str) -> Result<u64> {
    show(host, interface)?["stats64"][direction][what]
        .as_u64()
        .with_context(|| format!("ip prints no stats64.{direction}.{what}"))
}

fn show(host: &Namespace, interface: &str) -> Result<Value> {
    let all = command::json(Command::new("ip").args([
        "-n",
        host.name(),
        "-s",
        "-s",
        "-j",
        "link",
        "show",
        "dev",
        interface,
    ]))?;
    all.get(0).cloned().context("ip lists no such interface")
}
