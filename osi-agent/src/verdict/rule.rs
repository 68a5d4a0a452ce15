//! Hysteresis: conditions that hold become findings, and findings whose condition stays away are resolved.

use std::collections::BTreeMap;

use super::{
    Cause, Confidence, Evidence, Finding, FindingState, Onset, Severity, Sighting,
    judge::Circumstances,
};
use crate::scope::Scope;

/// Clear windows after which a finding is resolved, and windows that its symptoms stay explained afterwards.
pub const CLEAR_WINDOWS: u64 = 5;

/// Findings that may be open at once; further ones are counted.
pub(super) const MAX_OPEN: usize = 1024;

/// Conditions on their way to a finding that are remembered.
const MAX_PENDING: usize = 4096;

/// A warning that hurts more than this share of the traffic …
const HURTS: f64 = 0.1;

/// … for this many windows is critical. One window is a restart.
const HURTS_WINDOWS: u64 = 3;

/// Clear windows after which that begins anew.
const CALM_WINDOWS: u64 = 2;

/// Whether a cause could not be seen at a scope in a window.
pub(super) type IsBlind<'a> = dyn Fn(&'static str, &Scope) -> bool + 'a;

/// A finding with what the rules need to know of it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) cause: &'static Cause,
    pub(super) finding: Finding,
    pub(super) opened: u64,
    worst: (u64, Severity),
    hurt: u64,
    told: Option<(Severity, Confidence, Vec<String>, bool)>,
}

/// Open findings, those just resolved, and conditions that have not held long enough.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) open: BTreeMap<(&'static str, Scope), Entry>,
    /// Resolved findings with the window in which they were.
    pub(super) resolved: Vec<(u64, Entry)>,
    /// The last three windows of conditions: bit 0 is this one.
    pending: BTreeMap<(&'static str, Scope), u8>,
    /// Findings of this window that found too many open.
    pub(super) omitted: u64,
}

impl Ledger {
    /// Whether a finding is open.
    pub(super) fn is_open(&self, cause: &'static str, scope: &Scope) -> bool {
        self.open.contains_key(&(cause, scope.clone()))
    }

    /// What an open finding says; nothing where none is open.
    pub(super) fn evidence(&self, cause: &'static str, scope: &Scope) -> &[Evidence] {
        let entry = self.open.get(&(cause, scope.clone()));
        entry.map_or(&[], |entry| &entry.finding.evidence)
    }

    /// Whether a finding is open, or its condition has held of late.
    pub(super) fn is_pending(&self, cause: &'static str, scope: &Scope) -> bool {
        let key = (cause, scope.clone());
        self.open.contains_key(&key) || self.pending.contains_key(&key)
    }

    /// Takes in the sightings of a window of this length. A cause that is blind in it tells nothing, neither that it holds nor that it is over.
    pub(super) fn step(
        &mut self,
        window: u64,
        elapsed_ns: u64,
        seen: BTreeMap<(&'static str, Scope), (&'static Cause, Sighting)>,
        blind: &IsBlind,
        now: &Circumstances,
    ) -> Vec<Finding> {
        self.omitted = 0;
        self.resolved.retain(|(at, _)| at + CLEAR_WINDOWS > window);
        let resolved = self.resolved.iter_mut().map(|(_, entry)| entry);
        for entry in self.open.values_mut().chain(resolved) {
            // Until it is seen.
            let quiet = entry.finding.quiet.get_or_insert_default();
            quiet.not_seen_ns += elapsed_ns;
        }
        for (key, bits) in &mut self.pending {
            if !blind(key.0, &key.1) {
                *bits = (*bits << 1) & 0b111;
            }
        }
        for (key, (cause, sighting)) in seen {
            if let Some(entry) = self.open.get_mut(&key) {
                entry.see(window, sighting);
            } else if self.ripe(&key, sighting.onset) {
                self.open(window, key, cause, sighting, now);
            }
        }
        self.pending.retain(|_, bits| *bits != 0);
        self.close(window, blind, now)
    }

    fn ripe(&mut self, key: &(&'static str, Scope), onset: Onset) -> bool {
        if self.pending.len() >= MAX_PENDING && !self.pending.contains_key(key) {
            return onset == Onset::Hard;
        }
        let bits = self.pending.entry(key.clone()).or_default();
        *bits |= 1;
        match onset {
            Onset::Hard => true,
            Onset::Statistical => bits.count_ones() >= 2,
            Onset::Sustained => *bits == 0b111,
        }
    }

    fn open(
        &mut self,
        window: u64,
        key: (&'static str, Scope),
        cause: &'static Cause,
        sighting: Sighting,
        now: &Circumstances,
    ) {
        if self.open.len() >= MAX_OPEN {
            self.omitted += 1;
            return;
        }
        self.pending.remove(&key);
        let entry = Entry::new(window, cause, sighting, now);
        self.open.insert(key, entry);
    }

    fn close(&mut self, window: u64, blind: &IsBlind, now: &Circumstances) -> Vec<Finding> {
        let mut over = Vec::new();
        for (key, entry) in &mut self.open {
            entry.finding.age_windows = window - entry.opened;
            if let Some(quiet) = &mut entry.finding.quiet {
                quiet.clear_windows += u64::from(!blind(key.0, &key.1));
                // Replicas that restart one after the other are as many short ones, and no long one.
                if quiet.clear_windows >= CALM_WINDOWS {
                    entry.hurt = 0;
                }
                if quiet.clear_windows >= CLEAR_WINDOWS {
                    over.push(key.clone());
                }
            }
        }
        let mut told = Vec::new();
        for key in over {
            if let Some(mut entry) = self.open.remove(&key) {
                entry.finding.state = FindingState::Resolved;
                entry.finding.resolved_at = Some(now.at.to_owned());
                told.push(entry.finding.clone());
                self.resolved.push((window, entry));
            }
        }
        told
    }
}

impl Entry {
    fn new(window: u64, cause: &'static Cause, sighting: Sighting, now: &Circumstances) -> Self {
        let Sighting {
            scope,
            onset: _,
            confidence,
            severity,
            evidence,
            impact,
            summary,
        } = sighting;
        let id = id(&[now.boot_id, cause.id, &scope.key(), now.at]);
        let finding = Finding {
            id,
            state: FindingState::Open,
            cause: cause.id.to_owned(),
            layer: cause.layer.id().to_owned(),
            severity,
            scope,
            owner: None,
            evidence,
            confidence,
            explained_by: Vec::new(),
            impact,
            summary,
            opened_at: now.at.to_owned(),
            resolved_at: None,
            quiet: None,
            age_windows: 0,
        };
        let hurt = u64::from(finding.impact.share_ratio > HURTS);
        Self {
            cause,
            finding,
            opened: window,
            worst: (window, severity),
            hurt,
            told: None,
        }
    }

    fn see(&mut self, window: u64, sighting: Sighting) {
        self.finding.quiet = None;
        self.hurt = if sighting.impact.share_ratio > HURTS {
            self.hurt + 1
        } else {
            0
        };
        let grown = sighting.severity == Severity::Warn
            && self.cause.severity == Severity::Warn
            // A guess stays a warning.
            && sighting.confidence > Confidence::Possible
            && self.hurt >= HURTS_WINDOWS;
        let severity = if grown {
            Severity::Critical
        } else {
            sighting.severity
        };
        self.finding.confidence = self.finding.confidence.max(sighting.confidence);
        // Bad windows are remembered, so that a finding at the border does not change its mind each second.
        if severity < self.worst.1 && self.worst.0 + CLEAR_WINDOWS > window {
            return;
        }
        self.worst = (window, severity);
        let Finding {
            severity: worst,
            evidence,
            impact,
            summary,
            scope,
            ..
        } = &mut self.finding;
        (*worst, *evidence, *impact) = (severity, sighting.evidence, sighting.impact);
        (*summary, *scope) = (sighting.summary, sighting.scope);
    }

    /// The finding, if there is anything new to tell about it.
    pub(super) fn news(&mut self) -> Option<Finding> {
        let Finding {
            severity,
            confidence,
            explained_by,
            owner,
            ..
        } = &self.finding;
        let now = (
            *severity,
            *confidence,
            explained_by.clone(),
            owner.is_some(),
        );
        if self.told.as_ref() == Some(&now) {
            return None;
        }
        self.finding.state = if self.told.is_none() {
            FindingState::Open
        } else {
            FindingState::Update
        };
        self.told = Some(now);
        Some(self.finding.clone())
    }
}

/// FNV-1a over the parts, 64 bits in hexadecimal: the same in every build and on every machine.
fn id(parts: &[&str]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_the_published_hash() {
        // FNV-1a of the bytes "a" and 0xff, worked out by the definition.
        let one = (0xcbf2_9ce4_8422_2325_u64 ^ 0x61).wrapping_mul(0x0000_0100_0000_01b3);
        let two = (one ^ 0xff).wrapping_mul(0x0000_0100_0000_01b3);
        assert_eq!(super::id(&["a"]), format!("{two:016x}"));
        assert_ne!(super::id(&["ab", "c"]), super::id(&["a", "bc"]));
    }
}
