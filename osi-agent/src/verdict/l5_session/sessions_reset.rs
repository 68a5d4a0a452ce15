//! The other end resets connections in the middle of what they are for.

use osi_common::layer::Layer;

use super::super::l4_transport::no_listener::NO_LISTENER;
use super::super::text::{inside, percent, place};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::ends::{Broken, broken};
use crate::layer::PeerDelta;
use crate::layer::l5_session::broken::SESSIONS_RESET as SIGNAL;

pub(in crate::verdict) static SESSIONS_RESET: Cause = Cause {
    id: "sessions_reset",
    layer: Layer::L5,
    class: CauseClass::Peer,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "Established connections are reset by the other end while data moves or an answer is waited for.",
    explained_by: &[&[&NO_LISTENER]],
    suspects: &[Layer::L7],
    reads: &[&SIGNAL],
    thresholds: &[
        Threshold::of("resets", 5.0),
        Threshold::of("ratio", 0.05),
        // Clients break off by themselves, too: who has seen enough of a film does.
        Threshold::of("ratio_of_clients", 0.25),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let of_peer = |peer: &PeerDelta| peer.delta.sessions_reset;
    let ends = broken(facts, "resets", of_peer, |listener| listener.sessions_reset);
    found.extend(ends.into_iter().map(|end| sighting(facts, end)));
}

fn sighting(facts: &Facts, end: Broken) -> Sighting {
    let all = facts.count_in(&SIGNAL, &end.netns);
    let (ratio, who) = (end.ratio(), end.who());
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence: vec![
            Evidence::new(
                SIGNAL.id,
                end.count as f64,
                "connections",
                format!("reset by {who} while something was going on"),
            ),
            end.begun(),
            Evidence::new(
                "sessions_reset_in_all",
                all as f64,
                "connections",
                "established connections reset in this namespace in the window, idle ones among them",
            ),
        ],
        impact: Impact {
            connections: end.count,
            share_ratio: ratio,
            peers: 1,
        },
        summary: format!(
            "{who}{} reset {} connections in a window in the middle of their work ({} of those begun or ended).",
            place(&end.scope),
            end.count,
            percent(ratio)
        ),
        scope: end.scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let count = finding.evidence.first().map_or(0.0, |row| row.value);
    let who = if finding.scope.remote.is_some() {
        "on the peer for a crash, a restart, an overload that it answers by resets, or a proxy or firewall before it"
    } else {
        "at the clients for timeouts shorter than this service takes, or at a proxy or firewall before it"
    };
    vec![Advice {
        text: format!("{count} connections a window are reset: look {who}."),
        confirm: inside(&finding.scope, "nstat -asz TcpEstabResets"),
        change: "mend what resets; where a pool reuses connections, discard them before the other end's idle time is over"
            .to_owned(),
        trade_off: "A retry by the application hides the fault and may repeat what was done already.".to_owned(),
    }]
}
