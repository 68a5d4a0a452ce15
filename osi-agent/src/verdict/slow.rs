//! What takes several times as long as it usually does, or does not end at all: one rule for all causes that say so.

use osi_common::histogram::Coarse;

use super::history::times_of;
use super::l4_transport::handshake_slow::HANDSHAKE_SLOW;
use super::l6_presentation::tls_handshake_slow::TLS_HANDSHAKE_SLOW;
use super::l7_application::{
    application_slow::APPLICATION_SLOW, dependency_slow::DEPENDENCY_SLOW, dns_slow::DNS_SLOW,
    http_slow::HTTP_SLOW,
};
use super::text::{percent, place, share};
use super::{Cause, Confidence, Evidence, Facts, Impact, Onset, Severity, Sighting};
use crate::layer::Signal;
use crate::layer::l7_application::exchange::Waits;
use crate::scope::{Scope, ScopeKind};

/// Causes that compare with what is usual: while one is open or on its way, its windows are no example.
pub(super) static SLOW: &[&Cause] = &[
    &HANDSHAKE_SLOW,
    &APPLICATION_SLOW,
    &DEPENDENCY_SLOW,
    &DNS_SLOW,
    &TLS_HANDSHAKE_SLOW,
    &HTTP_SLOW,
];

/// What was slow in one scope.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slow {
    /// Signal that it was measured by.
    pub(super) signal: &'static Signal,
    /// Completions that took longer than is allowed for.
    pub(super) count: u64,
    /// Share of all.
    pub(super) ratio: f64,
    /// 99th percentile of all.
    pub(super) p99_ns: u64,
    /// What that usually is.
    pub(super) usual_ns: u64,
}

/// What is longer than `times_usual` what is usual and than the limit of this name, in seconds, of the cause at hand.
pub(super) fn too_long_ns(facts: &Facts, least: &str, usual_ns: u64) -> f64 {
    let least_ns = facts.limit(least) * 1e9;
    least_ns.max(facts.limit("times_usual") * usual_ns as f64)
}

/// Whether more than `slow`, and more than `most` of all, took longer than `times_usual` what is usual and than `budget_s`:
/// limits of the cause at hand. What was always slow, or is new, is not slow.
pub(super) fn slow(
    facts: &Facts,
    signal: &'static Signal,
    scope: &Scope,
    times: &Coarse,
    most: f64,
) -> Option<Slow> {
    let usual_ns = facts.history.paces.usual_ns(signal, scope)?;
    let limit_ns = too_long_ns(facts, "budget_s", usual_ns) as u64;
    let count = times.longer_than(limit_ns);
    let ratio = share(count, times.count() - count);
    // Where quick ones become fewer, those that always take long are a greater part, and as many as ever but for chance.
    let usual = facts.history.paces.usually_long(signal, scope);
    let is_more =
        count as f64 > usual + 3.0 * usual.sqrt() || times.quantile_ns(5_000) > Some(limit_ns);
    (count as f64 > facts.limit("slow") && ratio > most && is_more).then(|| Slow {
        signal,
        count,
        ratio,
        p99_ns: times.quantile_ns(9_900).unwrap_or_default(),
        usual_ns,
    })
}

/// The same of every scope in which a signal was measured in the window, with `ratio` of the cause at hand as `most`.
pub(super) fn slow_scopes(
    facts: &Facts,
    wanted: &'static Signal,
) -> impl Iterator<Item = (Scope, Slow)> {
    let measured = times_of(facts.window, |signal| signal.id == wanted.id);
    measured.filter_map(|(signal, scope, times)| {
        let slow = slow(facts, signal, &scope, &times, facts.limit("ratio"))?;
        Some((scope, slow))
    })
}

/// Who answered and does not any more: nothing has ended, so that no time of what has ended tells it.
#[derive(Clone, Debug)]
pub(super) struct Silent {
    /// Signal that its answers are measured by.
    signal: &'static Signal,
    /// What waits there.
    waits: Waits,
    /// 99th percentile that is usual.
    usual_ns: u64,
}

/// Those of some waits of which more than `slow` go on, none has ended since the first of these began, and that is longer ago than
/// `times_usual` what is usual and than `silent_s`: limits of the cause at hand. Who never answers, as those that logs are sent
/// to, is not missed, nor who ever took long to a good end.
pub(super) fn silent_scopes(
    facts: &Facts,
    signal: &'static Signal,
    waits: Vec<(Scope, Waits)>,
) -> impl Iterator<Item = (Scope, Silent)> {
    waits.into_iter().filter_map(move |(scope, waits)| {
        let paces = &facts.history.paces;
        let usual_ns = paces.usual_ns(signal, &scope)?;
        let limit_ns = too_long_ns(facts, "silent_s", usual_ns);
        let many = waits.stuck as f64 > facts.limit("slow");
        let is_missed = !paces.takes_its_time(signal, &scope);
        (many && is_missed && waits.stuck_ns as f64 > limit_ns).then(|| {
            let silent = Silent {
                signal,
                waits,
                usual_ns,
            };
            (scope, silent)
        })
    })
}

impl Silent {
    /// Evidence that no finding about slow answers has.
    pub(super) const WAITING: &'static str = "waiting";

    /// A warning: `what` at this scope have no answer.
    pub(super) fn sighting(&self, what: &str, scope: Scope) -> Sighting {
        let Waits {
            stuck,
            stuck_ns,
            times,
            ..
        } = &self.waits;
        let why = "since the first of the waiting requests; none was answered since then";
        let evidence = vec![
            Evidence::new(self.signal.id, *stuck_ns as f64, "ns", why),
            Evidence::new(
                "usual",
                self.usual_ns as f64,
                "ns",
                "99 of 100 answers in healthy windows",
            ),
            Evidence::new(
                Self::WAITING,
                *stuck as f64,
                "requests",
                "were sent and got nothing back",
            ),
        ];
        Sighting {
            onset: Onset::Statistical,
            // It may be asked for what takes long, for the first time.
            confidence: Confidence::Possible,
            severity: Severity::Warn,
            evidence,
            impact: Impact {
                connections: *stuck,
                share_ratio: share(*stuck, times.count()),
                peers: peers(&scope),
            },
            summary: format!(
                "{what}{} are answered no more: {stuck} of them wait, the first for {:.1} s.",
                place(&scope),
                *stuck_ns as f64 / 1e9
            ),
            scope,
        }
    }
}

/// Peers that what is said of a scope is about.
fn peers(scope: &Scope) -> u64 {
    u64::from(matches!(scope.kind, ScopeKind::Peer | ScopeKind::Resolver))
}

impl Slow {
    /// A warning: `what` at this scope take so long.
    pub(super) fn sighting(&self, what: &str, evidence: Vec<Evidence>, scope: Scope) -> Sighting {
        Sighting {
            onset: Onset::Statistical,
            confidence: Confidence::Likely,
            severity: Severity::Warn,
            evidence,
            impact: self.impact(&scope),
            summary: format!(
                "{what}{} take {}: {} in a window, {} of them.",
                place(&scope),
                self.words(),
                self.count,
                percent(self.ratio)
            ),
            scope,
        }
    }

    /// `up to 400 ms (22.2 ms is usual)`.
    pub(super) fn words(&self) -> String {
        let ms = |ns: u64| ns as f64 / 1e6;
        format!(
            "up to {:.0} ms ({:.1} ms is usual)",
            ms(self.p99_ns),
            ms(self.usual_ns)
        )
    }

    /// The three figures behind it; `what` are its completions.
    pub(super) fn evidence(&self, why: String, what: &str, slow: &str) -> Vec<Evidence> {
        vec![
            Evidence::new(self.signal.id, self.p99_ns as f64, "ns", why),
            Evidence::new(
                "usual",
                self.usual_ns as f64,
                "ns",
                "the same in healthy windows",
            ),
            Evidence::new("slow", self.count as f64, what, slow),
        ]
    }

    /// Whom it hurts.
    pub(super) fn impact(&self, scope: &Scope) -> Impact {
        Impact {
            connections: self.count,
            share_ratio: self.ratio,
            peers: peers(scope),
        }
    }
}
