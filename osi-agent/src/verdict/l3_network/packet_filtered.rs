//! A rule set drops packets of connections that somebody wants.

use osi_common::layer::Layer;

use super::super::text::{inside, percent, place};
use super::super::{
    Advice, Cause, CauseClass, Evidence, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use crate::layer::DropRow;
use crate::layer::l3_network::netfilter::{NETFILTER_DROPS, REASON, by_rules, is_anybodys};
use crate::layer::l3_network::routes::{IP_RECEIVED, IP_SENT, IP6_RECEIVED, IP6_SENT};
use crate::scope::Scope;
use crate::snapshot::NetnsState;

mod culprits;

mod victims;

use culprits::culprits;
use victims::{Dropped, TO_LISTENERS};

pub(in crate::verdict) static PACKET_FILTERED: Cause = Cause {
    id: "packet_filtered",
    layer: Layer::L3,
    class: CauseClass::Policy,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "A packet filter's rule drops packets of a connection that is established or attempted.",
    explained_by: &[],
    suspects: &[],
    reads: &[&NETFILTER_DROPS],
    thresholds: &[
        Threshold::of("packets", 3.0),
        Threshold::of("ratio", 0.001),
        Threshold::of("listener_ratio", 0.01),
        Threshold::of("hurt_ratio", 0.1),
    ],
    detect,
    advise,
};

/// The price of letting packets through.
const TRADE_OFF: &str =
    "The rule may be there for a reason: whoever opens a port opens it for everybody it names.";

/// Whether what it drops are packets of clients of this namespace's listeners, and not of those that connect from it.
pub(in crate::verdict) fn is_of_clients(finding: &Finding) -> bool {
    let mut rows = finding.evidence.iter();
    rows.any(|row| row.signal == TO_LISTENERS)
}

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        found.extend(sighting(facts, state));
    }
}

fn sighting(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let scope = Scope::netns(&state.netns);
    let rows: Vec<_> = by_rules(facts.map)
        .filter(|row| row.scope == scope)
        .collect();
    let packets: u64 = rows.iter().map(|row| row.packets).sum();
    if packets == 0 {
        return None;
    }
    let samples = facts.dropped(REASON, &state.netns);
    let dropped = Dropped {
        facts,
        state,
        packets,
        samples: &samples,
    };
    let hurt = dropped.hurt()?;
    let moved = [&IP_RECEIVED, &IP_SENT, &IP6_RECEIVED, &IP6_SENT]
        .iter()
        .map(|signal| facts.map.count(signal, &scope))
        .sum();
    let mut evidence: Vec<_> = rows.iter().map(by_whom).collect();
    evidence.extend(culprits(facts, state, &rows));
    evidence.extend(hurt.evidence);
    Some(Sighting {
        onset: onset(state, &rows, hurt.onset),
        confidence: hurt.confidence,
        severity: hurt.severity,
        evidence,
        impact: hurt.impact,
        summary: format!(
            "A packet filter{} dropped {packets} packets{}{}.",
            place(&scope),
            hurt.whose,
            of_all(packets, moved),
        ),
        scope,
    })
}

/// How much of the traffic that is; nothing where the counters, which include what a filter drops, do not tell.
fn of_all(dropped: u64, moved: u64) -> String {
    if moved < dropped {
        return String::new();
    }
    let share = percent(dropped as f64 / moved.max(1) as f64);
    format!("; that is {share} of the {moved} IP packets received or sent there in this window")
}

fn by_whom(row: &DropRow) -> Evidence {
    let functions: Vec<_> = row
        .functions
        .iter()
        .map(|(function, _)| &**function)
        .filter(|name| !name.is_empty())
        .collect();
    let whom = if functions.is_empty() {
        "a rule".to_owned()
    } else {
        functions.join(", ")
    };
    let why = format!("packets dropped by {whom}");
    Evidence::new(&row.reason, row.packets as f64, "packets", why)
}

/// Connection tracking ends in the same drop reason and function; what it counts is taken out, but is read at another
/// moment, so that one window alone is no proof where connections are tracked.
fn onset(state: &NetnsState, rows: &[DropRow], onset: Onset) -> Onset {
    let tracks = state.conntrack.is_some_and(|gauge| gauge.used > 0);
    if onset == Onset::Hard && tracks && rows.iter().all(is_anybodys) {
        Onset::Statistical
    } else {
        onset
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let mut rows = finding.evidence.iter();
    if let Some(named) = rows.find_map(|row| culprits::advice(finding, row)) {
        return vec![named];
    }
    let dropped = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!("A rule drops {dropped} packets a window: find it by its counter, and ask who set it."),
        confirm: inside(&finding.scope, "nft list ruleset"),
        change: "add an accept rule before the one that drops, or remove that one (iptables-save shows rules of iptables-legacy)"
            .to_owned(),
        trade_off: TRADE_OFF.to_owned(),
    }]
}
