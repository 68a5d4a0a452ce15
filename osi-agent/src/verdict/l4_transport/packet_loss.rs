//! More is sent again than usual.

use osi_common::layer::Layer;

use super::super::history::Loss;
use super::super::on_the_way::ON_THE_WAY;
use super::super::text::{inside, percent, place};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l4_transport::retransmit::{
    RETRANSMITS_DATA, SEGMENTS_RETRANSMITTED, SEGMENTS_SENT,
};
use crate::scope::Scope;

pub(in crate::verdict) static PACKET_LOSS: Cause = Cause {
    id: "packet_loss",
    layer: Layer::L4,
    class: CauseClass::Loss,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "TCP sends more payload again than is usual here: packets are lost on the path.",
    explained_by: &[ON_THE_WAY],
    suspects: &[],
    reads: &[&SEGMENTS_RETRANSMITTED],
    thresholds: &[
        Threshold {
            name: "segments",
            default: 20.0,
        },
        Threshold {
            name: "ratio",
            default: 0.01,
        },
        Threshold {
            name: "times_usual",
            default: 3.0,
        },
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        let loss = Loss::of(facts.window, &state.netns);
        let usual = facts.history.losses.usual(&state.netns);
        let limit = facts.limit("ratio").max(facts.limit("times_usual") * usual);
        if loss.again as f64 <= facts.limit("segments") || loss.ratio() <= limit {
            continue;
        }
        let scope = Scope::netns(&state.netns);
        let data = facts.map.count(&RETRANSMITS_DATA, &scope);
        let mut evidence = vec![
            Evidence::new(
                SEGMENTS_RETRANSMITTED.id,
                loss.again as f64,
                "segments",
                "payload segments sent again",
            ),
            Evidence::new(
                SEGMENTS_SENT.id,
                loss.sent as f64,
                "segments",
                "segments sent",
            ),
            Evidence::new(
                "usual_loss",
                usual,
                "ratio",
                "share that is sent again in this namespace's healthy windows",
            ),
        ];
        if data > 0 {
            evidence.push(Evidence::new(
                RETRANSMITS_DATA.id,
                data as f64,
                "segments",
                "of them on established connections",
            ));
        }
        let ratio = loss.ratio().min(1.0);
        found.push(Sighting {
            onset: Onset::Statistical,
            confidence: if data > 0 {
                Confidence::Likely
            } else {
                Confidence::Possible
            },
            severity: Severity::Warn,
            evidence,
            impact: Impact {
                connections: 0,
                share_ratio: ratio,
                peers: 0,
            },
            summary: format!(
                "TCP{} sends {} of its segments again ({} is usual): packets are lost on the path.",
                place(&scope),
                percent(ratio),
                percent(usual)
            ),
            scope,
        });
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let again = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!(
            "{again} segments a window are sent again: find the peers they go to, then the hop that loses them."
        ),
        confirm: inside(&finding.scope, "ss -Htin state established"),
        change: "mend or avoid the lossy hop (mtr -T shows where loss begins)".to_owned(),
        trade_off: "Changing the congestion control hides the loss and does not mend it."
            .to_owned(),
    }]
}
