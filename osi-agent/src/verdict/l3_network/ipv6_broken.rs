//! IPv6 lost its way out while IPv4 works: programs that try it first wait, and whoever has nothing else fails.

use osi_common::layer::Layer;

use super::super::l1_physical::link_down::LINK_DOWN;
use super::super::text::inside;
use super::super::{
    Advice, Cause, CauseClass, Evidence, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use super::no_route::{V6, is_ipv6_alone, sighting};
use crate::layer::l3_network::routes::{IP6_IN_NO_ROUTES, IP6_OUT_NO_ROUTES};
use crate::snapshot::{NetnsState, Route};

pub(in crate::verdict) static IPV6_BROKEN: Cause = Cause {
    id: "ipv6_broken",
    layer: Layer::L3,
    class: CauseClass::Config,
    onset: Onset::Hard,
    severity: Severity::Warn,
    help: "IPv6 had a way out and lost it, while IPv4 works: what speaks IPv6 first is late, what speaks only IPv6 fails.",
    explained_by: &[&[&LINK_DOWN]],
    suspects: &[],
    reads: &[&IP6_OUT_NO_ROUTES, &IP6_IN_NO_ROUTES],
    thresholds: &[Threshold::of("packets", 3.0), Threshold::of("ratio", 0.001)],
    detect,
    advise,
};

/// Evidence that the lost route was a router's own.
const ADVERTISED: &str = "advertised_routes";

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let alone = facts.window.now.namespaces.iter();
    for state in alone.filter(|state| is_ipv6_alone(facts, state)) {
        found.extend(sighting(facts, state, &V6).map(|mut seen| {
            let silent = facts.history.routes.advertised(&state.netns);
            seen.evidence
                .extend(silent.map(|route| silence(state, route)));
            Sighting {
                severity: Severity::Warn,
                summary: format!("{} IPv4 works.", seen.summary),
                ..seen
            }
        }));
    }
}

/// The router that had advertised the way out, and does not any more.
fn silence(state: &NetnsState, route: &Route) -> Evidence {
    let router = route
        .gateway
        .map_or_else(|| "a router".to_owned(), |address| address.to_string());
    let mut links = state.links.iter();
    let link = links.find(|link| Some(link.iface.ifindex) == route.ifindex);
    let on = link.map_or_else(String::new, |link| format!(" on {}", link.iface.name));
    let why = format!("the way out was advertised by {router}{on}, and is withdrawn or expired");
    Evidence::new(ADVERTISED, 1.0, "routes", why)
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let count = finding.evidence.first().map_or(0.0, |row| row.value);
    let advertised = finding.evidence.iter().find(|row| row.signal == ADVERTISED);
    let why = advertised.map_or(
        "the default route is gone, as when router advertisements stop or are refused",
        |row| &row.why,
    );
    vec![Advice {
        text: format!("{count} IPv6 packets a window find no route: {why}."),
        confirm: inside(&finding.scope, "ip -6 route show"),
        change: inside(
            &finding.scope,
            "sysctl -w net.ipv6.conf.IFACE.accept_ra=2, or: ip -6 route add default via ROUTER",
        ),
        trade_off: "A host that forwards refuses advertisements unless accept_ra is 2; a route set by hand does not follow the router when it moves."
            .to_owned(),
    }]
}
