//! Requests lie unread in the sockets of an application that reads nothing.
//!
//! Only those count that arrived after the latest one that it read on that port: one connection that is left alone while others,
//! that asked later, are served is the application's own affair.

use osi_common::layer::Layer;

use super::super::l4_transport::ephemeral_ports_exhausted::EPHEMERAL_PORTS_EXHAUSTED;
use super::super::l5_session::file_descriptors_exhausted::FILE_DESCRIPTORS_EXHAUSTED;
use super::super::owner;
use super::super::slow::too_long_ns;
use super::super::text::{inside, place, share, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::cpu_starved::CPU_STARVED;
use super::listener;
use crate::layer::Window;
use crate::layer::l4_transport::queues::ACCEPT_QUEUE;
use crate::layer::l7_application::exchange::{
    QUEUEING_SHARE, REQUEST_DWELL, RESPONSE_TIME, Served, served,
};
use crate::scope::Scope;
use crate::snapshot::{End, Sessions, Table};

pub(in crate::verdict) static APPLICATION_STALLED: Cause = Cause {
    id: "application_stalled",
    layer: Layer::L7,
    class: CauseClass::App,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "Requests have arrived at a listener and the application reads none of them: it is stopped, blocked, or busy with something else.",
    explained_by: &[&[
        &CPU_STARVED,
        &FILE_DESCRIPTORS_EXHAUSTED,
        // Who looks through all ports in each connect() does nothing else.
        &EPHEMERAL_PORTS_EXHAUSTED,
    ]],
    suspects: &[],
    reads: &[&REQUEST_DWELL],
    thresholds: &[
        Threshold::of("seconds", 1.0),
        Threshold::of("times_usual", 3.0),
        // So many, or fewer, may be left alone for reasons of their own.
        Threshold::of("requests", 3.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let stalled = served(facts.window).into_iter().filter(|row| {
        let waits = row.dwell.stuck > 0 && row.dwell.stuck_ns as f64 > limit_ns(facts, &row.scope);
        waits && unread(facts.window, row) != Some(0)
    });
    found.extend(stalled.map(|row| sighting(facts, row)));
}

/// How long is too long. Who serves one after the other reads on when it is done, so that requests usually wait there about as long
/// as answers take; where either is soon, a second is.
fn limit_ns(facts: &Facts, scope: &Scope) -> f64 {
    let usual = |signal| facts.history.paces.usual_ns(signal, scope);
    let both = usual(&REQUEST_DWELL).zip(usual(&RESPONSE_TIME));
    let in_turn_ns = both.map_or(0, |(dwell_ns, response_ns)| dwell_ns.min(response_ns));
    too_long_ns(facts, "seconds", in_turn_ns)
}

/// Connections to a listening port that the kernel shows with unread data; `None` where it was not asked since these requests wait.
///
/// Who reads past the calls that the programs see (MPTCP, sockets that eBPF joins) leaves nothing unread.
fn unread(window: &Window, row: &Served) -> Option<u64> {
    let since_ns = window.now.boot_ns.saturating_sub(row.dwell.stuck_ns);
    let read = sessions(window, &row.scope)?;
    let is_new = read.is_read() && read.read_ns >= since_ns;
    is_new.then(|| accepted(read, &row.scope).map(|row| row.unread).sum())
}

/// Whether much of the memory that TCP holds is data that lies unread at a listening port. The buffers around it take about as
/// much again, and so does what clients on this host have not sent yet.
pub(in crate::verdict) fn fills_memory(window: &Window, scope: &Scope) -> bool {
    let held = window.host().tcp_memory.map_or(0, |gauge| gauge.used);
    let read = sessions(window, scope);
    let unread: u64 = read.map_or(0, |read| {
        accepted(read, scope).map(|row| row.unread_pages).sum()
    });
    unread > 0 && unread * 4 >= held
}

/// What was read of the connections in a scope's namespace.
fn sessions<'a>(window: &Window<'a>, scope: &Scope) -> Option<&'a Table<Sessions>> {
    let mut states = window.now.namespaces.iter();
    let state = states.find(|state| Some(&state.netns) == scope.netns.as_ref())?;
    Some(&state.sessions)
}

/// Those of them that were accepted at a listening port.
fn accepted<'a>(
    sessions: &'a [Sessions],
    scope: &Scope,
) -> impl Iterator<Item = &'a Sessions> + use<'a> {
    let (wanted, at) = (scope.port, scope.local);
    sessions.iter().filter(move |row| match row.end {
        End::Listener(address, port) => {
            Some(port) == wanted && at.is_none_or(|local| local == address)
        }
        End::Peer(..) => false,
    })
}

fn sighting(facts: &Facts, row: Served) -> Sighting {
    let Served {
        scope,
        dwell,
        response,
    } = row;
    let seconds = dwell.stuck_ns as f64 / 1e9;
    // A few may be the farewells of clients that nobody serves any more, and are no matter for one window. Who never read
    // anything may be made so: what delays its greeting, or takes a stream that it reads later.
    let queue = facts.meter(&ACCEPT_QUEUE, &scope);
    let is_full = queue.and_then(|meter| meter.ratio) >= Some(1.0);
    let is_missed = dwell.has_passed || is_full;
    let is_sure = is_missed && dwell.stuck as f64 > facts.limit("requests");
    let (onset, severity) = if is_sure {
        (Onset::Hard, Severity::Critical)
    } else {
        (Onset::Statistical, Severity::Warn)
    };
    let confidence = if is_missed {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let mut evidence = vec![
        Evidence::new(
            REQUEST_DWELL.id,
            dwell.stuck_ns as f64,
            "ns",
            "since one was last read, or since the first of these arrived if that was later",
        ),
        Evidence::new(
            "waiting",
            dwell.stuck as f64,
            "connections",
            "have data that the application has not read",
        ),
    ];
    if response.stuck > 0 {
        let why = "were read and are not answered";
        evidence.push(Evidence::new(
            "unanswered",
            response.stuck as f64,
            "connections",
            why,
        ));
    }
    let meter = facts.meter(&QUEUEING_SHARE, &scope);
    evidence.extend(meter.and_then(|meter| meter.ratio).map(|ratio| {
        let why = "of the time that requests spend here they wait to be read";
        Evidence::new(QUEUEING_SHARE.id, ratio, "ratio", why)
    }));
    Sighting {
        onset,
        confidence,
        severity,
        evidence,
        impact: Impact {
            connections: dwell.stuck,
            share_ratio: share(dwell.stuck, dwell.times.count()),
            peers: 0,
        },
        summary: format!(
            "The application at {}{} has read nothing for {seconds:.1} s: {}.",
            listener(&scope),
            place(&scope),
            waiting(dwell.stuck)
        ),
        scope,
    }
}

fn waiting(requests: u64) -> String {
    match requests {
        1 => "a request waits".to_owned(),
        more => format!("{more} requests wait"),
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let who = owner::who(finding);
    let port = ss_port(&finding.scope);
    vec![Advice {
        text: format!(
            "Find out what {who} waits for: its state in ps (T is stopped, D waits for a disk), and what its threads do (/proc/PID/stack, gdb, py-spy, jstack). Unread bytes are in the first column."
        ),
        confirm: inside(&finding.scope, &format!("ss -Htnp state established{port}")),
        change: "continue it (kill -CONT), end what blocks it, or restart it".to_owned(),
        trade_off: "A restart loses the requests that wait, and what could have told why they do."
            .to_owned(),
    }]
}
