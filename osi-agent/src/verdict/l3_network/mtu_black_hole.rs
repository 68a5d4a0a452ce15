//! Large packets vanish on the way and nobody says so: a link takes less than both ends believe, and the message that would
//! tell the sender (RFC 1191, RFC 8201) is filtered.

use core::net::IpAddr;

use osi_common::layer::Layer;

use super::super::history::Stall;
use super::super::text::{inside, percent, place, ss_address};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l3_network::path_mtu::FULL_SIZE_UNACKED;
use crate::scope::{Netns, Scope};

pub(in crate::verdict) static MTU_BLACK_HOLE: Cause = Cause {
    id: "mtu_black_hole",
    layer: Layer::L3,
    class: CauseClass::Config,
    onset: Onset::Statistical,
    severity: Severity::Critical,
    help: "Connections to a destination come to be and stall at their first full-size segment, while smaller ones get through.",
    explained_by: &[],
    suspects: &[],
    reads: &[&FULL_SIZE_UNACKED],
    thresholds: &[
        Threshold::of("segments", 3.0),
        Threshold::of("again_ratio", 0.1),
        Threshold::of("connections", 2.0),
        Threshold::of("quiet_windows", 3.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        for (destination, stall) in facts.history.stalls.within(&state.netns) {
            found.extend(sighting(facts, &state.netns, destination, &stall));
        }
    }
}

fn sighting(facts: &Facts, netns: &Netns, destination: IpAddr, stall: &Stall) -> Option<Sighting> {
    let quiet = facts.history.windows.saturating_sub(stall.last);
    // Random loss hits a first segment three times in a row as well, but few of all that are sent again.
    let share = stall.segments as f64 / stall.again.max(stall.segments).max(1) as f64;
    if quiet as f64 > facts.limit("quiet_windows")
        || stall.segments as f64 <= facts.limit("segments")
        || share <= facts.limit("again_ratio")
    {
        return None;
    }
    // A peer that died acknowledges nothing, whatever its size: something small must have got through since.
    let connected = facts.history.peers.towards(netns, destination).connected;
    let many = stall.connections.len() as f64 >= facts.limit("connections");
    // Who roams away in the middle of a transfer does it with one connection.
    if !many {
        return None;
    }
    // A server whose accept queue is full completes handshakes and takes no data: without the proof it may be that.
    let (confidence, severity) = match (stall.passes_smaller, connected > 0) {
        (true, _) => (Confidence::Likely, Severity::Critical),
        (false, true) => (Confidence::Possible, Severity::Warn),
        (false, false) => return None,
    };
    let mut evidence = vec![Evidence::new(
        FULL_SIZE_UNACKED.id,
        stall.segments as f64,
        "segments",
        format!(
            "full-size ones sent again in vain in the last windows, {} of all payload sent again",
            percent(share)
        ),
    )];
    if connected > 0 {
        let why = "connects to it succeeded in the last windows: small packets pass";
        evidence.push(Evidence::new(
            "connected",
            connected as f64,
            "connections",
            why,
        ));
    }
    let proof = if stall.passes_smaller {
        ", and it has acknowledged smaller ones"
    } else {
        ""
    };
    let scope = Scope::peer(netns, destination, None);
    let connections = stall.connections.len() as u64;
    Some(Sighting {
        onset: Onset::Statistical,
        confidence,
        severity,
        evidence,
        impact: Impact {
            connections,
            share_ratio: share,
            peers: 1,
        },
        summary: format!(
            "Full-size segments to {destination}{} vanish: {connections} or more connections stall at their first one{proof}.",
            place(&scope)
        ),
        scope,
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let Some(address) = finding.scope.remote else {
        return Vec::new();
    };
    vec![Advice {
        text: format!(
            "Find the largest packet that passes (`ping -M do -s SIZE {address}`), and whoever drops ICMP \"fragmentation needed\" or \"packet too big\" on the way to it: a firewall, or a tunnel whose MTU is not told."
        ),
        confirm: inside(
            &finding.scope,
            &format!("ss -Htino dst {}", ss_address(address)),
        ),
        change: format!(
            "let that ICMP through; until then {} or `sysctl net.ipv4.tcp_mtu_probing=1`",
            inside(
                &finding.scope,
                &format!("ip route add {address} via ROUTER mtu SIZE")
            )
        ),
        trade_off: "A smaller MTU costs packets and headers on every transfer to it, and must be undone once the path is mended."
            .to_owned(),
    }]
}
