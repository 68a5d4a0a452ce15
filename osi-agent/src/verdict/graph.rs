//! Which findings explain which: the symptoms fall away, the roots remain.

use std::collections::{BTreeMap, BTreeSet};

use super::reach::Reach;
use super::rule::{CLEAR_WINDOWS, Entry, Ledger};
use super::{Cause, CauseClass, Confidence, Severity};

/// Notes for every open finding which others explain it, whichever opened first.
///
/// A rule or a program that possibly does what it is there for explains nothing: it drops all the time on many hosts.
/// A finding that was resolved in the last windows still explains: the tail of an incident is no new one.
pub(super) fn explain(ledger: &mut Ledger, reach: &Reach, window: u64) {
    let fresh = ledger
        .resolved
        .iter()
        .filter(|(at, _)| at + CLEAR_WINDOWS > window)
        .map(|(_, entry)| entry);
    let mut by_cause: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in ledger.open.values().chain(fresh) {
        by_cause.entry(entry.cause.id).or_default().push(entry);
    }
    let mut answers = Vec::new();
    for felt in ledger.open.values() {
        let faults = felt
            .cause
            .explanations()
            .filter_map(|cause| by_cause.get(cause.id))
            .flatten()
            .filter(|fault| {
                let is_policy = fault.cause.class == CauseClass::Policy;
                !is_policy || fault.finding.confidence > Confidence::Possible
            });
        let covering = faults.filter(|fault| reach.explains(fault, felt));
        answers.push(
            covering
                .map(|fault| fault.finding.id.clone())
                .collect::<BTreeSet<_>>(),
        );
    }
    for (entry, ids) in ledger.open.values_mut().zip(answers) {
        entry.finding.explained_by = ids.into_iter().collect();
    }
}

/// Roots, worst first, each with the findings that it explains, directly or through others.
///
/// While only the tail of an incident is open, its resolved root stays the root.
pub(super) fn roots(ledger: &Ledger) -> Vec<Root<'_>> {
    let open: Vec<&Entry> = ledger.open.values().collect();
    let unexplained = open
        .iter()
        .copied()
        .filter(|entry| entry.finding.explained_by.is_empty());
    let mut roots: Vec<_> = unexplained
        .map(|entry| Root::new(entry, &open, true))
        .collect();
    if roots.is_empty() {
        let gone = ledger
            .resolved
            .iter()
            .map(|(_, entry)| Root::new(entry, &open, false));
        roots = gone.filter(|root| !root.symptoms.is_empty()).collect();
    }
    roots.sort_by(|a, b| b.rank(a));
    roots
}

/// A root with what it explains.
pub(super) struct Root<'a> {
    pub(super) entry: &'a Entry,
    pub(super) symptoms: Vec<&'a Entry>,
    /// Whether it is open itself; else only its symptoms still are.
    pub(super) open: bool,
}

impl<'a> Root<'a> {
    fn new(entry: &'a Entry, open: &[&'a Entry], is_open: bool) -> Self {
        let mut ids = BTreeSet::from([entry.finding.id.as_str()]);
        let mut symptoms: Vec<&Entry> = Vec::new();
        // The table of causes has no cycle and is shallow: one more round for each level.
        loop {
            let explained = |other: &&&Entry| {
                let by = &other.finding.explained_by;
                !ids.contains(other.finding.id.as_str())
                    && by.iter().any(|id| ids.contains(id.as_str()))
            };
            let more: Vec<&Entry> = open.iter().filter(explained).copied().collect();
            if more.is_empty() {
                break;
            }
            ids.extend(more.iter().map(|other| other.finding.id.as_str()));
            symptoms.extend(more);
        }
        symptoms
            .sort_by_key(|symptom| (std::cmp::Reverse(symptom.cause.layer), &symptom.finding.id));
        Self {
            entry,
            symptoms,
            open: is_open,
        }
    }

    /// Its own severity, or that of its worst symptom.
    pub(super) fn severity(&self) -> Severity {
        let worst = self
            .symptoms
            .iter()
            .map(|symptom| symptom.finding.severity)
            .max();
        let own = self.open.then_some(self.entry.finding.severity);
        worst.max(own).unwrap_or(Severity::Warn)
    }

    /// Greater is worse: severity, impact, confidence; then the lower layer and the elder.
    fn rank(&self, other: &Self) -> std::cmp::Ordering {
        let (a, b) = (&self.entry.finding, &other.entry.finding);
        let impact = a.impact.share_ratio.total_cmp(&b.impact.share_ratio);
        self.severity()
            .cmp(&other.severity())
            .then(impact)
            .then(a.impact.connections.cmp(&b.impact.connections))
            .then(a.impact.peers.cmp(&b.impact.peers))
            .then(a.confidence.cmp(&b.confidence))
            .then(other.entry.cause.layer.cmp(&self.entry.cause.layer))
            .then(other.entry.opened.cmp(&self.entry.opened))
            .then(b.id.cmp(&a.id))
    }
}

/// Every cause that may explain this one, directly or through others.
pub(super) fn ancestors(cause: &'static Cause) -> BTreeMap<&'static str, &'static Cause> {
    let mut found = BTreeMap::new();
    let mut open = vec![cause];
    while let Some(next) = open.pop() {
        for above in next.explanations() {
            if found.insert(above.id, above).is_none() {
                open.push(above);
            }
        }
    }
    found
}
