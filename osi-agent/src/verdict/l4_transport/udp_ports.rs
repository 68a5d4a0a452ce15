//! The local UDP ports of a namespace are taken: a part of the cause `ephemeral_ports_exhausted`.

use super::super::text::{inside, percent, place};
use super::super::{
    Advice, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity, Sighting,
};
use super::ephemeral_ports_exhausted::{left, until_full};
use super::port_holders::{evidence, who};
use crate::layer::Meter;
use crate::layer::l4_transport::ports::UDP_PORTS;
use crate::scope::{Proto, Scope};
use crate::snapshot::UdpPorts;

/// Namespaces whose UDP ports are gone, or will be soon.
pub(super) fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    found.extend(facts.map.meters(&UDP_PORTS).filter_map(|meter| {
        let ratio = meter.ratio?;
        let soon = || {
            let left = facts.history.trends.time_to_full_ns(meter);
            left.is_some_and(|ns| ns as f64 / 1e9 <= facts.limit("full_within_s"))
        };
        let short =
            ratio >= facts.limit("warn_ratio") || ratio >= facts.limit("trend_ratio") && soon();
        short.then(|| sighting(facts, meter, ratio))
    }));
}

/// Whether a finding is about UDP.
pub(super) fn is_udp(scope: &Scope) -> bool {
    scope.proto == Some(Proto::Udp)
}

fn sighting(facts: &Facts, meter: &Meter, ratio: f64) -> Sighting {
    let scope = meter.reading.scope.clone();
    let ports = ports(facts, &scope);
    let holders = ports.and_then(|ports| ports.holders.as_ref());
    let capacity = meter.reading.capacity.unwrap_or_default();
    let mut rows = vec![Evidence::new(
        UDP_PORTS.id,
        meter.reading.used,
        "ports",
        format!("local UDP ports in use of {capacity}"),
    )];
    rows.extend(
        ports
            .and_then(|ports| ports.most)
            .map(|(address, sockets)| {
                let why = format!("of these sockets have the source address {address}");
                Evidence::new("source_address", sockets as f64, "sockets", why)
            }),
    );
    rows.extend(evidence(holders));
    let who = who(holders);
    let full = ratio >= 1.0;
    let summary = if full {
        format!(
            "No local UDP port is free{}: whoever needs one gets EAGAIN{who}.",
            place(&scope)
        )
    } else {
        rows.extend(left(facts, meter));
        let (ratio, when) = (percent(ratio), until_full(facts, meter));
        format!(
            "{ratio} of the local UDP ports{} are in use{when}{who}.",
            place(&scope)
        )
    };
    Sighting {
        onset: Onset::Hard,
        // Nobody was seen to be refused: none may have asked.
        confidence: Confidence::Likely,
        severity: if full {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence: rows,
        impact: Impact::default(),
        summary,
        scope,
    }
}

fn ports<'a>(facts: &Facts<'a>, scope: &Scope) -> Option<&'a UdpPorts> {
    let netns = scope.netns.as_ref()?;
    let mut states = facts.window.now.namespaces.iter();
    states
        .find(|state| state.netns == *netns)?
        .udp_ports
        .as_ref()
}

/// What to do about UDP.
pub(super) fn advise(finding: &Finding) -> Advice {
    let used = finding.row(&UDP_PORTS);
    let now = used.map_or_else(String::new, |row| format!(" ({} in use)", row.value));
    Advice {
        text: format!("Keep UDP sockets and use them again{now}: one socket may talk to any number of peers."),
        confirm: inside(&finding.scope, "ss -Huan | wc -l"),
        change: "let the process send from a few sockets, close those that have their answer sooner, or bind them with SO_REUSEPORT".to_owned(),
        trade_off: "A resolver that asks from few ports is easier to deceive (RFC 5452).".to_owned(),
    }
}
