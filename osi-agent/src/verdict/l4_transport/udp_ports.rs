//! The local UDP ports of a namespace are taken: a part of the cause `ephemeral_ports_exhausted`.

use osi_common::occurrence::Kind;

use super::super::text::{inside, percent, place};
use super::super::{
    Advice, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity, Sighting,
};
use super::ephemeral_ports_exhausted::{left, until_full};
use super::port_holders::{evidence, last_refused, who};
use crate::layer::Meter;
use crate::layer::l4_transport::ports::{UDP_PORTS, UDP_PORTS_REFUSED};
use crate::scope::{Proto, Scope};
use crate::snapshot::UdpPorts;

const IPPROTO_UDP: u32 = 17;

/// Namespaces whose UDP ports are gone, or will be soon; and those in which the kernel refused one, whatever the meter shows.
pub(super) fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let mut metered = Vec::new();
    for meter in facts.map.meters(&UDP_PORTS) {
        let Some(ratio) = meter.ratio else { continue };
        let scope = &meter.reading.scope;
        let soon = || {
            let left = facts.history.trends.time_to_full_ns(meter);
            left.is_some_and(|ns| ns as f64 / 1e9 <= facts.limit("full_within_s"))
        };
        let refused = scope
            .netns
            .as_ref()
            .map_or(0, |netns| facts.count_in(&UDP_PORTS_REFUSED, netns));
        let short = refused > 0
            || ratio >= facts.limit("warn_ratio")
            || ratio >= facts.limit("trend_ratio") && soon();
        if short {
            found.push(sighting(facts, scope, Some(meter), refused));
        }
        metered.extend(scope.netns.as_ref());
    }
    for row in facts.map.counters(&UDP_PORTS_REFUSED) {
        if let Some(netns) = &row.scope.netns
            && !metered.contains(&netns)
        {
            found.push(sighting(facts, &Scope::udp_ports(netns), None, row.delta));
        }
    }
}

/// Whether a finding is about UDP.
pub(super) fn is_udp(scope: &Scope) -> bool {
    scope.proto == Some(Proto::Udp)
}

fn sighting(facts: &Facts, scope: &Scope, meter: Option<&Meter>, refused: u64) -> Sighting {
    let ports = ports(facts, scope);
    let holders = ports.and_then(|ports| ports.holders.as_ref());
    let mut rows = Vec::new();
    if refused > 0 {
        let why = "sockets that needed a UDP port and got none";
        rows.push(Evidence::new(
            UDP_PORTS_REFUSED.id,
            refused as f64,
            "events",
            why,
        ));
    }
    rows.extend(meter.map(usage));
    rows.extend(
        ports
            .and_then(|ports| ports.most)
            .map(|(address, sockets)| {
                let why = format!("of these sockets have the source address {address}");
                Evidence::new("source_address", sockets as f64, "sockets", why)
            }),
    );
    rows.extend(evidence(holders));
    let (who, at) = (who(holders), place(scope));
    let ratio = meter.and_then(|meter| meter.ratio).unwrap_or_default();
    let full = refused > 0 || ratio >= 1.0;
    let summary = if refused > 0 {
        let seen = scope.netns.as_ref().and_then(|netns| {
            let samples = facts.samples(Kind::PortRefused, netns);
            samples.filter(|seen| seen.code == IPPROTO_UDP).last()
        });
        let last = last_refused(seen.and_then(|seen| seen.process));
        format!("No local UDP port was free{at} for {refused} sockets that needed one{last}{who}.")
    } else if full {
        format!("No local UDP port is free{at}: whoever needs one gets EAGAIN{who}.")
    } else {
        rows.extend(meter.and_then(|meter| left(facts, meter)));
        let when = meter.map_or_else(String::new, |meter| until_full(facts, meter));
        let ratio = percent(ratio);
        format!("{ratio} of the local UDP ports{at} are in use{when}{who}.")
    };
    Sighting {
        onset: Onset::Hard,
        // Of a full pool alone nobody need have asked.
        confidence: if refused > 0 {
            Confidence::Certain
        } else {
            Confidence::Likely
        },
        severity: if full {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence: rows,
        impact: Impact::default(),
        summary,
        scope: scope.clone(),
    }
}

fn usage(meter: &Meter) -> Evidence {
    let capacity = meter.reading.capacity.unwrap_or_default();
    let why = format!("local UDP ports in use of {capacity}");
    Evidence::new(UDP_PORTS.id, meter.reading.used, "ports", why)
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
