//! Packets that no route leads on.

use core::net::IpAddr;
use std::collections::BTreeSet;

use osi_common::layer::Layer;

use super::super::history::is_global;
use super::super::l1_physical::link_down::LINK_DOWN;
use super::super::text::{inside, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::Signal;
use crate::layer::l3_network::routes::{
    IP_IN_NO_ROUTES, IP_OUT_NO_ROUTES, IP_RECEIVED, IP_SENT, IP6_IN_NO_ROUTES, IP6_OUT_NO_ROUTES,
    IP6_RECEIVED, IP6_SENT,
};
use crate::scope::Scope;
use crate::snapshot::NetnsState;

pub(in crate::verdict) static NO_ROUTE: Cause = Cause {
    id: "no_route",
    layer: Layer::L3,
    class: CauseClass::Config,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "Packets are to be sent or forwarded to where no route leads.",
    explained_by: &[&[&LINK_DOWN]],
    suspects: &[],
    reads: &[
        &IP_OUT_NO_ROUTES,
        &IP_IN_NO_ROUTES,
        &IP6_OUT_NO_ROUTES,
        &IP6_IN_NO_ROUTES,
    ],
    thresholds: &[Threshold::of("packets", 3.0), Threshold::of("ratio", 0.001)],
    detect,
    advise,
};

/// The counters of one address family.
pub(super) struct Family {
    name: &'static str,
    v6: bool,
    lost: [&'static Signal; 2],
    moved: [&'static Signal; 2],
}

static V4: Family = Family {
    name: "IPv4",
    v6: false,
    lost: [&IP_OUT_NO_ROUTES, &IP_IN_NO_ROUTES],
    moved: [&IP_SENT, &IP_RECEIVED],
};

pub(super) static V6: Family = Family {
    name: "IPv6",
    v6: true,
    lost: [&IP6_OUT_NO_ROUTES, &IP6_IN_NO_ROUTES],
    moved: [&IP6_SENT, &IP6_RECEIVED],
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        // The family that loses most speaks for the namespace.
        let sightings = [&V4, &V6]
            .into_iter()
            .filter(|family| is_expected(facts, state, family))
            .filter(|family| !(family.v6 && is_ipv6_alone(facts, state)));
        let worst = sightings.filter_map(|family| sighting(facts, state, family));
        found.extend(worst.max_by(|a, b| {
            a.severity
                .cmp(&b.severity)
                .then(a.impact.share_ratio.total_cmp(&b.impact.share_ratio))
        }));
    }
}

/// Whether anybody may expect the family to work here: it lost a route, or is the only one there is.
/// A host without IPv6 counts `Ip6OutNoRoutes` whenever a program tries an AAAA answer first; that is no fault.
fn is_expected(facts: &Facts, state: &NetnsState, family: &Family) -> bool {
    let has = |v6: bool| {
        state
            .routes
            .iter()
            .any(|route| route.v6 == v6 && is_global(route))
    };
    let has_default = |v6: bool| {
        state
            .routes
            .iter()
            .any(|route| route.v6 == v6 && route.destination.is_none())
    };
    let missed = facts.history.routes.missed(state, family.v6);
    missed || has_default(family.v6) || !has(!family.v6) || !family.v6 && has(false)
}

/// Whether IPv4 works in the namespace and IPv6 lost the way out: a fault of its own.
pub(super) fn is_ipv6_alone(facts: &Facts, state: &NetnsState) -> bool {
    let lost = |v6| facts.history.routes.missed(state, v6);
    let has = |v6| {
        let mut routes = state.routes.iter();
        routes.any(|route| route.v6 == v6 && route.destination.is_none())
    };
    let v4_fails = V4
        .lost
        .iter()
        .any(|signal| facts.count_in(signal, &state.netns) > 0);
    has(false) && !lost(false) && !v4_fails && lost(true) && !has(true)
}

/// Packets of a family that find no route.
pub(super) fn sighting(facts: &Facts, state: &NetnsState, family: &Family) -> Option<Sighting> {
    let scope = Scope::netns(&state.netns);
    let [out, into] = family.lost.map(|signal| facts.map.count(signal, &scope));
    let moved = family
        .moved
        .iter()
        .map(|signal| facts.map.count(signal, &scope))
        .sum();
    let (total, ratio) = (out + into, share(out + into, moved));
    let gone = facts.history.routes.missed(state, family.v6);
    let default = state
        .routes
        .iter()
        .any(|route| route.v6 == family.v6 && route.destination.is_none());
    if total == 0 || ratio <= facts.limit("ratio") {
        return None;
    }
    let mut evidence = Vec::new();
    for (signal, count) in family
        .lost
        .iter()
        .zip([out, into])
        .filter(|(_, count)| *count > 0)
    {
        evidence.push(Evidence::new(
            signal.id,
            count as f64,
            "packets",
            signal.help,
        ));
    }
    let why = if default {
        "there is a default route"
    } else {
        "there is no default route"
    };
    evidence.push(Evidence::new(
        "default_routes",
        f64::from(u8::from(default)),
        "routes",
        why,
    ));
    let destinations = destinations(facts, state);
    let towards = destinations
        .first()
        .map_or_else(String::new, |first| format!(", for example to {first}"));
    Some(Sighting {
        // One stray packet is an event; a program that tries again and again is a fault, and so are many at once.
        onset: if total as f64 > facts.limit("packets") {
            Onset::Hard
        } else {
            Onset::Statistical
        },
        confidence: Confidence::Certain,
        severity: if gone || !default {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence,
        impact: Impact {
            connections: out,
            share_ratio: ratio,
            peers: destinations.len() as u64,
        },
        summary: format!(
            "No {} route for {total} packets{}{towards}.",
            family.name,
            place(&scope)
        ),
        scope,
    })
}

/// Where dropped packets of this kind were going, as far as samples tell.
fn destinations(facts: &Facts, state: &NetnsState) -> BTreeSet<IpAddr> {
    let samples = REASONS
        .iter()
        .flat_map(|reason| facts.dropped(reason, &state.netns));
    samples.filter_map(|seen| seen.remote).collect()
}

/// Drop reasons of packets without a route.
const REASONS: [&str; 2] = ["IP_OUTNOROUTES", "IP_INNOROUTES"];

fn advise(finding: &Finding) -> Vec<Advice> {
    let v6 = finding
        .evidence
        .iter()
        .any(|row| row.signal.starts_with("ip6"));
    let family = if v6 { "-6" } else { "-4" };
    let count = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!("{count} packets a window find no route: look for the one that is missing."),
        confirm: inside(&finding.scope, &format!("ip {family} route show")),
        change: inside(
            &finding.scope,
            &format!("ip {family} route add default via GATEWAY"),
        ),
        trade_off: "A route set by hand is gone after a restart; mend what configures the network."
            .to_owned(),
    }]
}
