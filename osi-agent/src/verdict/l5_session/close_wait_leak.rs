//! An application does not close what the other end has closed.

use osi_common::layer::Layer;

use super::super::owner;
use super::super::text::{inside, local, percent, place, remote, ss_address, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l5_session::sessions::{CLOSE_WAIT_HELD, SESSIONS, scope};
use crate::scope::{Netns, Process, Scope};
use crate::snapshot::{End, Sessions};

pub(in crate::verdict) static CLOSE_WAIT_LEAK: Cause = Cause {
    id: "close_wait_leak",
    layer: Layer::L5,
    class: CauseClass::App,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "An application leaves more and more connections open that the other end has closed (CLOSE_WAIT).",
    explained_by: &[],
    suspects: &[],
    reads: &[&CLOSE_WAIT_HELD],
    thresholds: &[
        Threshold::of("connections", 20.0),
        // Pools of clients keep what servers closed while they were idle, as many as the pool has and no more.
        Threshold::of("windows_grown", 3.0),
        Threshold::of("ratio", 0.05),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        let leaks = state.sessions.iter().filter(|row| {
            let grew = facts.history.leaks.grew(&state.netns, row.end);
            row.long_close_wait as f64 > facts.limit("connections")
                && grew as f64 >= facts.limit("windows_grown")
                && ratio(row) > facts.limit("ratio")
        });
        found.extend(leaks.map(|row| sighting(&state.netns, row)));
    }
}

fn ratio(row: &Sessions) -> f64 {
    row.long_close_wait as f64 / row.open.max(1) as f64
}

/// The process that held more than half of them when they were searched, which may be some windows ago: there were fewer then.
fn holder(row: &Sessions) -> Option<&Process> {
    let found = row.holders.as_ref()?;
    let held: u64 = found.processes.iter().map(|holder| holder.sockets).sum();
    let most = found.processes.first()?;
    (most.sockets * 2 > held + found.nobody + found.unknown).then_some(&most.process)
}

fn sighting(netns: &Netns, row: &Sessions) -> Sighting {
    let of_end = scope(netns, row.end);
    let with = match row.end {
        End::Listener(..) => format!("at {}", local(&of_end)),
        End::Peer(..) => format!("to {}", remote(&of_end)),
    };
    let process = holder(row);
    let who = process.map_or_else(|| "An application".to_owned(), owner::process);
    let of_process = |process: &Process| Scope::process(Some(netns), process);
    let scope = process.map_or_else(|| of_end.clone(), of_process);
    let long = row.long_close_wait as f64;
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence: vec![
            Evidence::new(
                CLOSE_WAIT_HELD.id,
                long,
                "connections",
                format!("{with} that the other end closed ten seconds ago or longer"),
            ),
            Evidence::new(
                SESSIONS.id,
                row.open as f64,
                "connections",
                format!("{with} in all"),
            ),
        ],
        impact: Impact {
            connections: row.long_close_wait,
            share_ratio: 0.0,
            peers: 0,
        },
        summary: format!(
            "{who}{} does not close {long} of its {} connections {with} ({}) though the other end has, and they become more.",
            place(&of_end),
            row.open,
            percent(ratio(row))
        ),
        scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let held = finding.row(&CLOSE_WAIT_HELD).map_or(0.0, |row| row.value);
    let scope = &finding.scope;
    let port = ss_port(scope);
    let filter = match (scope.remote, scope.port) {
        (Some(address), Some(port)) => format!(" dst {} dport = :{port}", ss_address(address)),
        (Some(_) | None, _) => port,
    };
    let who = scope
        .process
        .as_ref()
        .map_or_else(|| owner::who(finding), owner::process);
    vec![Advice {
        text: format!(
            "{held} connections wait for {who} to close them: look for an error path that returns without close(), or a pool that never discards."
        ),
        confirm: inside(scope, &format!("ss -Htanp state close-wait{filter}")),
        change: "close the socket when read() returns 0; until then a restart frees them"
            .to_owned(),
        trade_off: "No setting of the kernel ends CLOSE_WAIT.".to_owned(),
    }]
}
