//! More is sent again than usual.

use osi_common::layer::Layer;

use super::super::history::Loss;
use super::super::on_the_way::ON_THE_WAY;
use super::super::queueing::queueing;
use super::super::text::{inside, percent, place, remote};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l4_transport::retransmit::{
    RETRANSMISSION_TIMEOUTS, RETRANSMITS_CLOSE, RETRANSMITS_DATA, SEGMENTS_RETRANSMITTED,
    SEGMENTS_SENT,
};
use crate::scope::{Netns, Scope};

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
        Threshold::of("segments", 20.0),
        Threshold::of("ratio", 0.01),
        Threshold::of("times_usual", 3.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        let loss = Loss::of(facts.window, &state.netns);
        let usual = facts.history.losses.usual(&state.netns);
        let limit = facts.limit("ratio").max(facts.limit("times_usual") * usual);
        if loss.lost() as f64 <= facts.limit("segments") || loss.ratio() <= limit {
            continue;
        }
        found.push(sighting(facts, &state.netns, loss, usual));
    }
}

fn sighting(facts: &Facts, netns: &Netns, loss: Loss, usual: f64) -> Sighting {
    let scope = Scope::netns(netns);
    let data = facts.map.count(&RETRANSMITS_DATA, &scope);
    let mut evidence = vec![
        Evidence::new(
            SEGMENTS_RETRANSMITTED.id,
            loss.again as f64,
            "segments",
            format!(
                "payload segments sent again; of them {} were not needed",
                loss.needless
            ),
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
    let timeouts = facts.count_in(&RETRANSMISSION_TIMEOUTS, netns);
    if timeouts > 0 {
        evidence.push(Evidence::new(
            RETRANSMISSION_TIMEOUTS.id,
            timeouts as f64,
            "events",
            "retransmission timers ran out, each after 200 ms or more of standstill",
        ));
    }
    let peers = peers(facts, netns);
    evidence.extend(peers.iter().take(WORST).map(|(peer, again)| {
        let why = format!("sent again to {}", remote(peer));
        Evidence::new(RETRANSMITS_DATA.id, *again as f64, "segments", why)
    }));
    evidence.extend(queueing(facts));
    let all = data + facts.count_in(&RETRANSMITS_CLOSE, netns);
    let worst = peers
        .first()
        .filter(|(_, again)| *again * 2 > all)
        .map_or_else(String::new, |(peer, again)| {
            format!(
                ", {} of them to {}",
                // The two maps are read one after the other.
                percent((*again as f64 / all as f64).min(1.0)),
                remote(peer)
            )
        });
    let ratio = loss.ratio().min(1.0);
    Sighting {
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
            peers: peers.len() as u64,
        },
        summary: format!(
            "TCP{} sends {} of its segments again{worst} ({} is usual): packets are lost on the path.",
            place(&scope),
            percent(ratio),
            percent(usual)
        ),
        scope,
    }
}

/// Peers that are named.
const WORST: usize = 3;

/// Whom this host's own connections send segments to again, the worst first. Those of accepted ones are not counted by peer.
fn peers(facts: &Facts, netns: &Netns) -> Vec<(Scope, u64)> {
    let all = facts.window.peers().into_iter();
    let mut lossy: Vec<_> = all
        .filter(|peer| peer.netns == *netns && peer.delta.retransmits > 0)
        .map(|peer| {
            let scope = Scope::peer(netns, peer.address, Some(peer.port));
            (scope, peer.delta.retransmits)
        })
        .collect();
    lossy.sort_by_key(|(_, again)| std::cmp::Reverse(*again));
    lossy
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
