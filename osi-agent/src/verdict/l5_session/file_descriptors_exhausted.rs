//! A process, or the host, can open no more files and sockets.

use osi_common::layer::Layer;

use super::super::owner;
use super::super::text::{percent, place};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::close_wait_leak::CLOSE_WAIT_LEAK;
use crate::layer::Signal;
use crate::layer::l5_session::descriptors::{HOST_DESCRIPTORS, PROCESS_DESCRIPTORS, watched};
use crate::scope::Scope;

pub(in crate::verdict) static FILE_DESCRIPTORS_EXHAUSTED: Cause = Cause {
    id: "file_descriptors_exhausted",
    layer: Layer::L5,
    class: CauseClass::Capacity,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "A process has as many descriptors as its limit allows, or the host has: it can accept and make no further connection.",
    explained_by: &[&[&CLOSE_WAIT_LEAK]],
    suspects: &[],
    reads: &[&PROCESS_DESCRIPTORS, &HOST_DESCRIPTORS],
    thresholds: &[Threshold::of("ratio", 0.9)],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for (netns, row) in watched(facts.window) {
        let scope = Scope::process(netns, &row.process);
        let who = format!("{}{}", owner::process(&row.process), place(&scope));
        let signal = &PROCESS_DESCRIPTORS;
        found.extend(sighting(facts, signal, scope, &who, (row.used, row.limit)));
    }
    if let Some(files) = facts.window.host().files {
        let (signal, who) = (&HOST_DESCRIPTORS, "The host");
        let gauge = (files.used, files.limit);
        found.extend(sighting(facts, signal, Scope::host(), who, gauge));
    }
}

fn sighting(
    facts: &Facts,
    signal: &Signal,
    scope: Scope,
    who: &str,
    (used, limit): (u64, u64),
) -> Option<Sighting> {
    let ratio = used as f64 / limit.max(1) as f64;
    if ratio < facts.limit("ratio") {
        return None;
    }
    let is_full = used >= limit;
    let outlook = if is_full {
        "the next one is refused"
    } else {
        "few are left"
    };
    Some(Sighting {
        onset: Onset::Hard,
        confidence: if is_full {
            Confidence::Certain
        } else {
            Confidence::Likely
        },
        severity: if is_full {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence: vec![Evidence::new(
            signal.id,
            used as f64,
            "descriptors",
            format!("in use, of {limit} that the limit allows"),
        )],
        impact: Impact::default(),
        summary: format!(
            "{who} has {used} of {limit} descriptors in use, {}: {outlook}.",
            percent(ratio)
        ),
        scope,
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let used = finding.evidence.first().map_or(0.0, |row| row.value);
    let Some(process) = &finding.scope.process else {
        return vec![Advice {
            text: format!("{used} files are open on this host: find who holds most of them."),
            confirm: "cat /proc/sys/fs/file-nr".to_owned(),
            change: "sysctl -w fs.file-max=…".to_owned(),
            trade_off: "Each open file takes kernel memory; a leak only takes longer.".to_owned(),
        }];
    };
    let pid = process.pid;
    vec![
        Advice {
            text: format!(
                "{used} descriptors of {} are in use: see what they are before giving it more, connections that it should close or those of honest load.",
                process.comm
            ),
            confirm: format!("ls -l /proc/{pid}/fd"),
            change: "mend what does not close them, or close idle connections sooner".to_owned(),
            trade_off: "none".to_owned(),
        },
        Advice {
            text: "Give it more: the soft limit can be raised while it runs, and in its unit for the next start (LimitNOFILE=).".to_owned(),
            confirm: format!("prlimit --nofile --pid {pid}"),
            change: format!("prlimit --pid {pid} --nofile=65536:65536"),
            trade_off: "A leak only takes longer; some programs reserve memory for each possible descriptor.".to_owned(),
        },
    ]
}
