//! A program that somebody put on an interface drops packets there.
//!
//! Scrubbers and network policies do so all the time, and nobody misses what they drop. It is certain where somebody does:
//! who tries to connect in vain, neighbours that do not answer, or everybody, because nothing gets through.

use std::collections::BTreeSet;

use osi_common::layer::Layer;

use super::super::facts::Seen;
use super::super::origin::Origin;
use super::super::stuck::Stuck;
use super::super::text::{iface, inside, percent, place, quoted, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l2_data_link::programs::{
    FRAMES_SENT, PROGRAM_DROPS, counted_on, hooks, hooks_that_dropped,
};
use crate::layer::l2_data_link::rejected::FRAMES_RECEIVED;
use crate::layer::l3_network::routes::{IP_RECEIVED, IP6_RECEIVED};
use crate::scope::Iface;
use crate::snapshot::{Hook, NetnsState, Program};

pub(in crate::verdict) static DATAPATH_PROGRAM_DROPS: Cause = Cause {
    id: "datapath_program_drops",
    layer: Layer::L2,
    class: CauseClass::Policy,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "An XDP program, tc program or tc filter that somebody put on an interface drops packets.",
    explained_by: &[],
    suspects: &[],
    reads: &[&PROGRAM_DROPS],
    thresholds: &[
        Threshold::of("packets", 10.0),
        Threshold::of("ratio", 0.001),
    ],
    detect,
    advise,
};

/// Ethernet protocol of ARP.
const ETH_P_ARP: u16 = 0x0806;

/// IP protocol of neighbour discovery.
const ICMPV6: u32 = 58;

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    // Without the interfaces' counters no share is known.
    if facts.map.is_blind(&FRAMES_SENT) {
        return;
    }
    for state in &facts.window.now.namespaces {
        found.extend(sighting(facts, state));
    }
}

fn sighting(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let dropped = facts.count_in(&PROGRAM_DROPS, &state.netns);
    let carried =
        facts.count_in(&FRAMES_RECEIVED, &state.netns) + facts.count_in(&FRAMES_SENT, &state.netns);
    // What is dropped on its way in was received.
    let lost = share(dropped, carried.saturating_sub(dropped));
    if dropped as f64 <= facts.limit("packets") || lost <= facts.limit("ratio") {
        return None;
    }
    let mut samples = facts.dropped("", &state.netns);
    samples.retain(by_program);
    let stuck = Stuck::among(facts, &state.netns, &samples);
    let mut origin = Origin::of(facts, state, by_program);
    origin.iface = origin
        .iface
        .or_else(|| counted_on(facts.window, &state.netns));
    let scope = origin.scope();
    let at = hooks_that_dropped(facts.window, &state.netns, facts.map.drops());
    let suspects = suspects(state, origin.iface, &at);
    let missed = !stuck.peers.is_empty()
        || misses_neighbours(state, &samples)
        || passes_nothing(facts, state, dropped, &at);
    let mut evidence = vec![Evidence::new(
        PROGRAM_DROPS.id,
        dropped as f64,
        "packets",
        format!("{} of the frames received and sent", percent(lost)),
    )];
    evidence.extend(suspects.iter().filter_map(|program| {
        let (hook, id) = (program.hook.name(), program.id?);
        Some(Evidence::new(hook, f64::from(id), "id", named(program)))
    }));
    evidence.extend(origin.evidence("senders"));
    evidence.extend(stuck.evidence());
    Some(Sighting {
        onset: if missed {
            Onset::Statistical
        } else {
            Onset::Sustained
        },
        confidence: if missed {
            Confidence::Certain
        } else {
            Confidence::Possible
        },
        severity: Severity::Warn,
        evidence,
        impact: Impact {
            connections: stuck.peers.values().sum(),
            share_ratio: if missed { lost } else { 0.0 },
            peers: origin.senders.len() as u64,
        },
        summary: format!(
            "{}{}{} dropped {dropped} packets{}: {} of those received and sent.",
            subject(&suspects),
            origin.on(),
            place(&scope),
            origin.from(),
            percent(lost)
        ),
        scope,
    })
}

fn by_program(seen: &Seen) -> bool {
    !hooks(&seen.reason, &seen.function).is_empty()
}

/// Whether packets by which neighbours are found were dropped, and some neighbour is not found.
fn misses_neighbours(state: &NetnsState, samples: &[Seen]) -> bool {
    let finds = |seen: &Seen| seen.ethertype == ETH_P_ARP || seen.protocol == ICMPV6;
    !state.neighbours.unresolved.is_empty() && samples.iter().any(finds)
}

/// Whether hardly anything gets past the hooks. Frames would not tell: under an attack a scrubber drops nearly all of them.
fn passes_nothing(facts: &Facts, state: &NetnsState, dropped: u64, at: &BTreeSet<Hook>) -> bool {
    let count = |signal| facts.count_in(signal, &state.netns);
    let is_egress = |hook: &Hook| matches!(hook, Hook::TcxEgress | Hook::FilterEgress);
    // Filters may be on both sides; what goes out is counted after them.
    let passed = if at.iter().all(is_egress) {
        count(&FRAMES_SENT)
    } else {
        count(&IP_RECEIVED) + count(&IP6_RECEIVED)
    };
    passed as f64 <= facts.limit("packets") && passed < dropped
}

/// The programs at the hooks where packets were dropped, on the interface where that is known.
fn suspects<'a>(
    state: &'a NetnsState,
    on: Option<&Iface>,
    at: &BTreeSet<Hook>,
) -> Vec<&'a Program> {
    let here = |program: &&Program| on.is_none_or(|iface| program.iface == *iface);
    let programs = state.programs.iter().filter(here);
    programs
        .filter(|program| at.contains(&program.hook))
        .collect()
}

/// `The xdp program guard (id 7)`; of several, any may have done it.
fn subject(suspects: &[&Program]) -> String {
    match suspects {
        [] => "A program whose name is not known".to_owned(),
        [only] => format!("The {}", named(only)),
        several => {
            let names: Vec<_> = several.iter().map(|program| named(program)).collect();
            format!("One of {}", names.join(", "))
        }
    }
}

fn named(program: &Program) -> String {
    let Program { hook, id, name, .. } = program;
    match id {
        Some(id) => format!("{} program {name} (id {id})", hook.name()),
        None => format!("{} filter of kind {name}", hook.name()),
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let dropped = finding.evidence.first().map_or(0.0, |row| row.value);
    let name = iface(&finding.scope);
    let device = match &finding.scope.iface {
        Some(_) => format!(" dev {}", quoted(name)),
        None => String::new(),
    };
    let mut rows = finding.evidence.iter();
    let hook = rows.find_map(|row| Hook::named(&row.signal));
    let (show, change) = match hook {
        Some(Hook::Xdp) => (
            format!("ip -d link show{device}"),
            format!("ip link set{device} xdp off"),
        ),
        Some(Hook::TcxIngress | Hook::TcxEgress) => (
            format!("bpftool net show{device}"),
            "bpftool link detach id ID".to_owned(),
        ),
        Some(Hook::FilterEgress) => (
            format!("tc -s filter show{device} egress"),
            format!("tc filter del{device} egress pref N"),
        ),
        Some(Hook::FilterIngress) | None => (
            format!("tc -s filter show{device} ingress"),
            format!("tc filter del{device} ingress pref N"),
        ),
    };
    vec![Advice {
        text: format!(
            "{dropped} packets a window end in a program on {name}, before the stack sees them: ask whoever attached it whether that is meant; bpftool prog show id ID tells its owner."
        ),
        confirm: inside(&finding.scope, &show),
        change: inside(&finding.scope, &change),
        trade_off: "Such programs keep attacks away or carry the traffic of containers: without it, what it stopped comes in, or what it forwarded stands still.".to_owned(),
    }]
}
