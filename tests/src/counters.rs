//! What the kernel and the standard tools say: the truth that the agent's figures are held against.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command;
use crate::netns::Namespace;

/// One SNMP or netstat counter since the namespace was made, by nstat's name (`TcpExtListenOverflows`).
pub fn snmp(host: &Namespace, name: &str) -> Result<u64> {
    let all = command::json(host.command("nstat")?.args(["-asz", "--json", name]))?;
    all["kernel"][name]
        .as_u64()
        .with_context(|| format!("nstat knows no {name}: {all}"))
}

/// How many TCP sockets `ss` lists for a filter such as `dst 10.2.0.2:80`, whatever their state but listening.
pub fn tcp_sockets(host: &Namespace, filter: &str) -> Result<u64> {
    let text = command::output(
        host.command("ss")?
            .args(["-H", "-t", "-a", "-n", "-O"])
            .args(filter.split(' ')),
    )?;
    Ok(text
        .lines()
        .filter(|line| !line.starts_with("LISTEN"))
        .count() as u64)
}

/// Whether something listens on a TCP port.
pub fn is_listening(host: &Namespace, port: u16) -> Result<bool> {
    let filter = format!("sport = :{port}");
    let text = command::output(
        host.command("ss")?
            .args(["-H", "-l", "-t", "-n"])
            .args(filter.split(' ')),
    )?;
    Ok(!text.trim().is_empty())
}

/// Loaded eBPF programs that a process holds, by id.
pub fn programs_of(pid: u32) -> Result<Vec<u64>> {
    ids_of(&["prog", "show"], Some(pid))
}

/// Every loaded eBPF program, by id.
pub fn all_programs() -> Result<Vec<u64>> {
    ids_of(&["prog", "show"], None)
}

/// eBPF links that a process holds, by id.
pub fn links_of(pid: u32) -> Result<Vec<u64>> {
    ids_of(&["link", "show"], Some(pid))
}

/// Every eBPF link, by id.
pub fn all_links() -> Result<Vec<u64>> {
    ids_of(&["link", "show"], None)
}

fn ids_of(what: &[&str], holder: Option<u32>) -> Result<Vec<u64>> {
    let listing = command::json(Command::new("bpftool").arg("-j").args(what))?;
    let objects = listing.as_array().context("bpftool prints no list")?;
    Ok(objects
        .iter()
        .filter(|object| holder.is_none_or(|pid| holds(object, pid)))
        .filter_map(|object| object["id"].as_u64())
        .collect())
}

fn holds(object: &Value, pid: u32) -> bool {
    object["pids"]
        .as_array()
        .is_some_and(|pids| pids.iter().any(|entry| entry["pid"] == pid))
}
