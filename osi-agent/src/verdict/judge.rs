//! One window's judgement: conditions, hysteresis, explanation, verdict.

use std::collections::{BTreeMap, BTreeSet};

use osi_common::layer::Layer;

use super::graph::{self, Root};
use super::reach::Reach;
use super::rule::Entry;
use super::{
    Cause, Facts, FaultMap, Finding, FindingRef, History, Severity, Sighting, Verdict,
    VerdictState, causes, layers, owner,
};
use crate::layer::{LayerMap, Signal, Window};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::Blind;

/// What the judgement needs to be told: it has no clock and reads no files.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// Boot id of the host.
    pub boot_id: &'a str,
    /// Number of the window since the agent started, from 1.
    pub seq: u64,
    /// Window's end as RFC 3339.
    pub at: &'a str,
    /// Limits of the configuration file by cause and name; `None` where the table's own holds.
    pub limits: &'a dyn Fn(&str, &str) -> Option<f64>,
}

type Seen = BTreeMap<(&'static str, Scope), (&'static Cause, Sighting)>;

/// Judges a window.
pub fn judge(
    window: &Window,
    map: &LayerMap,
    history: &mut History,
    now: &Circumstances,
) -> FaultMap {
    history.observe(window, map);
    let blind: BTreeSet<_> = causes()
        .filter(|cause| is_blind(map, cause))
        .map(|cause| cause.id)
        .collect();
    let is_blind_at = |id: &str, scope: &Scope| blind.contains(id) || is_missed(window, id, scope);
    let seen = sightings(window, map, history, now);
    let mut changes = history
        .ledger
        .step(history.windows, map.elapsed_ns, seen, &is_blind_at, now);
    let History {
        ledger,
        routes,
        stopped,
        windows,
        ..
    } = history;
    for entry in ledger.open.values_mut() {
        owner::note(window, &mut entry.finding);
    }
    graph::explain(ledger, &Reach::new(window, routes, stopped), *windows);
    changes.extend(ledger.open.values_mut().filter_map(Entry::news));
    history.learn(window, map);

    let roots = graph::roots(&history.ledger);
    let mut open: Vec<Finding> = history
        .ledger
        .open
        .values()
        .map(|entry| entry.finding.clone())
        .collect();
    open.sort_by(|a, b| (b.severity, b.confidence, &a.id).cmp(&(a.severity, a.confidence, &b.id)));
    FaultMap {
        window_ns: map.elapsed_ns,
        seq: now.seq,
        layers: layers::faults(window, map, history, &open),
        verdict: verdict(&roots, window, map, &blind),
        open_findings: open.iter().map(|finding| finding.id.clone()).collect(),
        findings_omitted: history.ledger.omitted,
        changes,
        open,
        at: now.at.to_owned(),
    }
}

fn is_blind(map: &LayerMap, cause: &Cause) -> bool {
    cause.reads.iter().all(|signal| map.is_blind(signal))
}

/// Whether the namespace of a scope had no turn in this pass, or what this cause rests on was not read there: nobody saw whether it
/// is over.
fn is_missed(window: &Window, id: &str, scope: &Scope) -> bool {
    let mut states = window.now.namespaces.iter();
    let state = states.find(|state| Some(&state.netns) == scope.netns.as_ref());
    let Some(missed) = state.map(|state| &state.missed) else {
        return false;
    };
    let fed_by_them = |signal: &&Signal| {
        let mut feeders = signal.fed_by.iter();
        feeders.any(|feeder| missed.iter().any(|id| id == feeder))
    };
    let mut causes = causes();
    !missed.is_empty() && causes.any(|cause| cause.id == id && cause.reads.iter().all(fed_by_them))
}

/// Where which cause's condition holds; the worst sighting of a scope counts.
fn sightings(window: &Window, map: &LayerMap, history: &History, now: &Circumstances) -> Seen {
    let mut seen = Seen::new();
    for cause in causes() {
        let limits = |name: &str| cause.limit(name, now.limits);
        let mut found = Vec::new();
        (cause.detect)(
            &Facts {
                window,
                map,
                history,
                limits: &limits,
            },
            &mut found,
        );
        for mut sighting in found {
            // What belongs to the whole host is not the fault of the one namespace that is watched.
            if window.single_netns && sighting.scope.kind == ScopeKind::Host {
                continue;
            }
            owner::tell(window, &mut sighting);
            let key = (cause.id, sighting.scope.clone());
            let worse = |(_, known): &(&Cause, Sighting)| known.severity < sighting.severity;
            if seen.get(&key).is_none_or(worse) {
                seen.insert(key, (cause, sighting));
            }
        }
    }
    seen
}

fn verdict(
    roots: &[Root],
    window: &Window,
    map: &LayerMap,
    blind: &BTreeSet<&'static str>,
) -> Verdict {
    let Some((worst, others)) = roots.split_first() else {
        return all_is_well(window, map, blind);
    };
    let Finding {
        id,
        opened_at,
        scope,
        owner,
        confidence,
        impact,
        evidence,
        summary,
        quiet,
        ..
    } = &worst.entry.finding;
    let cause = worst.entry.cause;
    let state = match worst.severity() {
        Severity::Warn => VerdictState::Warn,
        Severity::Critical => VerdictState::Critical,
    };
    Verdict {
        state,
        layer: Some(cause.layer.id().to_owned()),
        cause: Some(cause.id.to_owned()),
        finding_id: Some(id.clone()),
        since: Some(opened_at.clone()),
        quiet: *quiet,
        summary: if worst.open {
            summary.clone()
        } else {
            format!("Over, its symptoms are fading: {summary}")
        },
        confidence: Some(*confidence),
        scope: Some(scope.clone()),
        owner: owner.clone(),
        impact: Some(*impact),
        evidence: evidence.clone(),
        symptoms: worst
            .symptoms
            .iter()
            .map(|symptom| reference(&symptom.finding))
            .collect(),
        other_roots: others
            .iter()
            .map(|root| reference(&root.entry.finding))
            .collect(),
        cannot_rule_out: cannot_rule_out(cause, map, blind),
        advice: (cause.advise)(&worst.entry.finding),
    }
}

fn reference(finding: &Finding) -> FindingRef {
    let Finding {
        layer, cause, id, ..
    } = finding;
    FindingRef {
        layer: layer.clone(),
        cause: cause.clone(),
        finding_id: id.clone(),
    }
}

/// Nothing found, and how much that is worth: what is blind could hold a fault.
fn all_is_well(window: &Window, map: &LayerMap, blind: &BTreeSet<&'static str>) -> Verdict {
    let in_part = map
        .layers
        .iter()
        .filter(|reading| reading.sighted && !reading.blind.is_empty())
        .map(|reading| reading.layer);
    let (unseen, in_part) = (ids(unsighted(map)), ids(in_part));
    let mut parts = Vec::new();
    if !unseen.is_empty() {
        parts.push(format!("not visible: {}", unseen.join(", ")));
    }
    if !in_part.is_empty() {
        let (layers, why) = (in_part.join(", "), why_in_part(map));
        parts.push(format!("visible only in part: {layers} ({why})"));
    }
    let summary = if parts.is_empty() {
        "No layer is broken.".to_owned()
    } else {
        format!("No fault found in what can be seen; {}.", parts.join("; "))
    };
    let causes = causes()
        .filter(|cause| blind.contains(cause.id))
        .map(|cause| cause.layer);
    // A signal that is blind hides what reads it; a namespace or a reader that is, may hide anything on its layers.
    let readers = window.now.blind.iter().map(|row| row.layer);
    let cannot_rule_out = ids(causes.chain(readers).chain(unsighted(map)));
    Verdict {
        state: VerdictState::Ok,
        layer: None,
        cause: None,
        finding_id: None,
        since: None,
        quiet: None,
        summary,
        confidence: None,
        scope: None,
        owner: None,
        impact: None,
        evidence: Vec::new(),
        symptoms: Vec::new(),
        other_roots: Vec::new(),
        cannot_rule_out,
        advice: Vec::new(),
    }
}

/// Layers that could still hold the true root: those of a blind cause that may explain this one, those below that show
/// nothing at all, and blind ones above that may press back on it.
fn cannot_rule_out(
    cause: &'static Cause,
    map: &LayerMap,
    blind: &BTreeSet<&'static str>,
) -> Vec<String> {
    let may_explain = graph::ancestors(cause);
    let unseen = may_explain
        .values()
        .filter(|above| blind.contains(above.id))
        .map(|above| above.layer);
    let below = unsighted(map).filter(|layer| *layer < cause.layer);
    let pressing = unsighted(map).filter(|layer| cause.suspects.contains(layer));
    ids(unseen.chain(below).chain(pressing))
}

/// The reason that blinds most layers, and most of them, of what is partly seen, and how many others there are.
fn why_in_part(map: &LayerMap) -> String {
    let mut reasons: BTreeMap<&str, Vec<&Blind>> = BTreeMap::new();
    for reading in map.layers.iter().filter(|reading| reading.sighted) {
        for row in &reading.blind {
            reasons.entry(&row.why).or_default().push(row);
        }
    }
    let others = match reasons.len() {
        0 | 1 => String::new(),
        2 => ", and another reason".to_owned(),
        more => format!(", and {} more reasons", more - 1),
    };
    let (why, rows) = reasons
        .into_iter()
        .max_by_key(|(_, rows)| {
            let layers: BTreeSet<_> = rows.iter().map(|row| row.layer).collect();
            (layers.len(), rows.len())
        })
        .unwrap_or_default();
    match rows.split_first() {
        Some((first, rest)) if rest.iter().all(|row| row.what == first.what) => {
            format!("{}: {why}{others}", first.what)
        }
        Some(_) | None => format!("{why}{others}"),
    }
}

fn unsighted(map: &LayerMap) -> impl Iterator<Item = Layer> {
    map.layers
        .iter()
        .filter(|reading| !reading.sighted)
        .map(|reading| reading.layer)
}

fn ids(layers: impl Iterator<Item = Layer>) -> Vec<String> {
    let sorted: BTreeSet<Layer> = layers.collect();
    sorted
        .into_iter()
        .map(|layer| layer.id().to_owned())
        .collect()
}
