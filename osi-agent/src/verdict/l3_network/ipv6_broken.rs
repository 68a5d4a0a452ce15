//! IPv6 lost its way out while IPv4 works: programs that try it first wait, and whoever has nothing else fails.

use osi_common::layer::Layer;

use super::super::l1_physical::link_down::LINK_DOWN;
use super::super::text::inside;
use super::super::{
    Advice, Cause, CauseClass, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use super::no_route::{V6, is_ipv6_alone, sighting};
use crate::layer::l3_network::routes::{IP6_IN_NO_ROUTES, IP6_OUT_NO_ROUTES};

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
    thresholds: &[
        Threshold {
            name: "packets",
            default: 3.0,
        },
        Threshold {
            name: "ratio",
            default: 0.001,
        },
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let alone = facts.window.now.namespaces.iter();
    for state in alone.filter(|state| is_ipv6_alone(facts, state)) {
        found.extend(sighting(facts, state, &V6).map(|seen| Sighting {
            severity: Severity::Warn,
            summary: format!("{} IPv4 works.", seen.summary),
            ..seen
        }));
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let count = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!(
            "{count} IPv6 packets a window find no route: the default route is gone, as when router advertisements stop or are refused."
        ),
        confirm: inside(&finding.scope, "ip -6 route show"),
        change: inside(
            &finding.scope,
            "sysctl -w net.ipv6.conf.IFACE.accept_ra=2, or: ip -6 route add default via ROUTER",
        ),
        trade_off: "A host that forwards refuses advertisements unless accept_ra is 2; a route set by hand does not follow the router when it moves."
            .to_owned(),
    }]
}
