//! A port that was listened on is not any more, and clients still come.

use osi_common::layer::Layer;

use super::super::history::{Listened, RECENT};
use super::super::text::{inside, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l4_transport::handshake::ACCEPTED;
use crate::layer::l4_transport::resets::SYNS_REFUSED;
use crate::scope::Scope;

pub(in crate::verdict) static NO_LISTENER: Cause = Cause {
    id: "no_listener",
    layer: Layer::L4,
    class: CauseClass::App,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "Clients connect to a port of this host that was listened on earlier; now nobody does, and the kernel resets their connects.",
    explained_by: &[],
    suspects: &[Layer::L7],
    reads: &[&SYNS_REFUSED],
    thresholds: &[
        Threshold::of("refused", 3.0),
        Threshold::of("ratio", 0.001),
        // One window may be a program that tries a port.
        Threshold::of("listened_windows", 2.0),
        // A restart takes some seconds, and is no incident.
        Threshold::of("restart_windows", 5.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for (scope, port, windows) in facts.history.ports.gone(facts.history.windows) {
        let accepted = scope
            .netns
            .as_ref()
            .map_or(0, |netns| facts.count_in(&ACCEPTED, netns));
        let ratio = share(port.refused_now, accepted);
        let missed = port.refused_now > 0
            && port.refused() as f64 > facts.limit("refused")
            && ratio > facts.limit("ratio");
        if missed && port.windows as f64 >= facts.limit("listened_windows") {
            let lasting = windows as f64 >= facts.limit("restart_windows");
            found.push(sighting(scope, port, windows, lasting, ratio));
        }
    }
}

fn sighting(scope: Scope, port: &Listened, windows: u64, lasting: bool, ratio: f64) -> Sighting {
    let number = scope.port.unwrap_or_default();
    Sighting {
        onset: Onset::Hard,
        confidence: Confidence::Certain,
        severity: if lasting {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence: vec![
            Evidence::new(
                SYNS_REFUSED.id,
                port.refused_now as f64,
                "segments",
                "SYNs to this port found no socket in the window and were reset",
            ),
            Evidence::new(
                "refused_lately",
                port.refused() as f64,
                "segments",
                format!("in the last {RECENT} windows, as far as the listener was gone"),
            ),
            Evidence::new(
                "gone",
                windows as f64,
                "windows",
                "since the listener was last seen",
            ),
        ],
        impact: Impact {
            connections: port.refused_now,
            share_ratio: ratio,
            peers: 0,
        },
        summary: format!(
            "Nobody listens on port {number}{} any more, and clients still connect: {} were refused in a window.",
            place(&scope),
            port.refused_now
        ),
        scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let refused = finding.evidence.first().map_or(0.0, |row| row.value);
    let port = finding.scope.port.unwrap_or_default();
    vec![Advice {
        text: format!(
            "{refused} connects a window are refused: find out why the service of port {port} ended, and start it again."
        ),
        // Shows nothing where nobody listens, and that is the answer.
        confirm: inside(&finding.scope, &format!("ss -Hltnp sport = :{port}")),
        change: "start the service (its unit's state and journal tell why it ended)".to_owned(),
        trade_off: "A service that ends again at once only hides its reason.".to_owned(),
    }]
}
