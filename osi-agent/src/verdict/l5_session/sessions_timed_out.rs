//! The kernel gives up established connections because nothing comes back.

use osi_common::layer::Layer;

use super::super::l4_transport::handshake_timeout::HANDSHAKE_TIMEOUT;
use super::super::l4_transport::packet_loss::PACKET_LOSS;
use super::super::on_the_way::ON_THE_WAY;
use super::super::text::{inside, percent, place, ss_address, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::ends::{Broken, broken};
use crate::layer::PeerDelta;
use crate::layer::l5_session::broken::SESSIONS_TIMED_OUT as SIGNAL;

pub(in crate::verdict) static SESSIONS_TIMED_OUT: Cause = Cause {
    id: "sessions_timed_out",
    layer: Layer::L5,
    class: CauseClass::Loss,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "Established connections end with ETIMEDOUT: the other end, or the path to it, has fallen silent.",
    explained_by: &[ON_THE_WAY, &[&PACKET_LOSS, &HANDSHAKE_TIMEOUT]],
    suspects: &[],
    reads: &[&SIGNAL],
    thresholds: &[
        Threshold::of("sessions", 3.0),
        Threshold::of("ratio", 0.05),
        // Clients go out of reach by themselves, too: laptops are shut, phones leave a network.
        Threshold::of("ratio_of_clients", 0.25),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let of_peer = |peer: &PeerDelta| peer.delta.sessions_timed_out;
    let ends = broken(facts, "sessions", of_peer, |listener| {
        listener.sessions_timed_out
    });
    found.extend(ends.into_iter().map(|end| sighting(facts, end)));
}

fn sighting(facts: &Facts, end: Broken) -> Sighting {
    let all = facts.count_in(&SIGNAL, &end.netns);
    let (ratio, who) = (end.ratio(), end.who());
    // A timer has waited for long, and whom this host connects to is one machine or one path: all of its connections end in
    // one window, and never again.
    let (onset, severity) = if end.of_clients {
        (Onset::Statistical, Severity::Warn)
    } else {
        (Onset::Hard, Severity::Critical)
    };
    Sighting {
        onset,
        confidence: Confidence::Certain,
        severity,
        evidence: vec![
            Evidence::new(
                SIGNAL.id,
                end.count as f64,
                "connections",
                format!("given up because {who} acknowledged nothing any more"),
            ),
            end.begun(),
            Evidence::new(
                "sessions_timed_out_in_all",
                all as f64,
                "connections",
                "given up in this namespace in the window",
            ),
        ],
        impact: Impact {
            connections: end.count,
            share_ratio: ratio,
            peers: 1,
        },
        summary: format!(
            "{who}{} has fallen silent: {} established connections were given up with ETIMEDOUT ({} of those begun or ended).",
            place(&end.scope),
            end.count,
            percent(ratio)
        ),
        scope: end.scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let count = finding.evidence.first().map_or(0.0, |row| row.value);
    let scope = &finding.scope;
    let (filter, change) = match (scope.remote, scope.port) {
        (Some(address), Some(port)) => (
            format!(" dst {} dport = :{port}", ss_address(address)),
            format!(
                "follow the path with: {}",
                inside(scope, &format!("traceroute -T -p {port} {address}"))
            ),
        ),
        (Some(_) | None, _) => (
            ss_port(scope),
            "follow the path to some of the clients with traceroute".to_owned(),
        ),
    };
    vec![Advice {
        text: format!(
            "{count} connections a window are given up: what was sent left this host, so look for a dead machine, or a filter or NAT on the path that has forgotten them."
        ),
        confirm: inside(scope, &format!("ss -Htno state established{filter}")),
        change,
        trade_off: "Keep-alive probes, sent more often than a NAT forgets, keep idle connections known to it; longer timers only hang for longer.".to_owned(),
    }]
}
