//! Who holds the ports of a pool, in words.

use super::super::Evidence;
use crate::scope::Process;
use crate::snapshot::SocketHolders;

/// `haproxy (pid 7)`.
fn name(process: &Process) -> String {
    format!("{} (pid {})", process.comm, process.pid)
}

/// `; haproxy (pid 7) holds most of them, 180`, or nothing where nobody was found.
pub(super) fn who(holders: Option<&SocketHolders>) -> String {
    let most = holders.and_then(|found| found.processes.first());
    most.map_or_else(String::new, |most| {
        format!(
            "; {} holds most of them, {}",
            name(&most.process),
            most.sockets
        )
    })
}

/// `; last refused: haproxy (pid 7)`, or nothing where nobody is known.
pub(super) fn last_refused(process: Option<String>) -> String {
    process.map_or_else(String::new, |process| format!("; last refused: {process}"))
}

/// What the search found: processes with their control groups, ports that are nobody's, and what it did not see.
pub(super) fn evidence(holders: Option<&SocketHolders>) -> Vec<Evidence> {
    let Some(found) = holders else {
        return Vec::new();
    };
    let SocketHolders {
        processes,
        nobody,
        unknown,
        unsearched,
    } = found;
    let held = processes.iter().map(|holder| {
        let group = holder.process.cgroup.as_ref();
        let group = group.map_or_else(String::new, |group| format!(" in cgroup {group}"));
        let why = format!("ports held by {}{group}", name(&holder.process));
        Evidence::new("ports_held", holder.sockets as f64, "ports", why)
    });
    let mut rows: Vec<_> = held.collect();
    let mut count = |signal, value: u64, unit, why| {
        if value > 0 {
            rows.push(Evidence::new(signal, value as f64, unit, why));
        }
    };
    count(
        "ports_of_nobody",
        *nobody,
        "ports",
        "ports that no process holds any more: their connections are closed",
    );
    count(
        "ports_of_unknown",
        *unknown,
        "ports",
        "ports whose process was not found",
    );
    count(
        "unsearched",
        *unsearched,
        "processes",
        "processes that were not searched for them: it took too long, or is not permitted",
    );
    rows
}
