//! Packets in, out and onward, and those that found no route.

use core::net::IpAddr;

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::{Netns, Scope, ScopeKind};
use crate::snapshot::Mib;

rows! { Layer::L3;
    IP_OUT_NO_ROUTES: "IPv4 packets that could not be sent for want of a route." {
        id: "ip_out_no_routes",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::IpOutNoRoutes))),
    }
    IP6_OUT_NO_ROUTES: "IPv6 packets that could not be sent for want of a route; a host without IPv6 has them in normal life." {
        id: "ip6_out_no_routes",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::Ip6OutNoRoutes))),
    }
    IP6_ROUTELESS: "Those of them in namespaces that have an IPv6 route beyond their own links: there they are errors." {
        id: "ip6_routeless",
        unit: Unit::Packets,
        source: Source::Derived,
        scope: ScopeKind::Netns,
        fed_by: &["mibs", "routes"],
        since: "2.6",
        read: Read::Errors(ip6_routeless),
    }
    IP_IN_NO_ROUTES: "IPv4 packets received that no route leads on." {
        id: "ip_in_no_routes",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::IpInNoRoutes))),
    }
    IP6_IN_NO_ROUTES: "IPv6 packets received that no route leads on." {
        id: "ip6_in_no_routes",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::Ip6InNoRoutes))),
    }
    REVERSE_PATH_FILTERED: "IPv4 packets dropped because no route leads back to their sender through the interface they came in on." {
        id: "reverse_path_filtered_packets",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Drops(|window, rows| rows.extend(window.mib_rows(Mib::IpReversePathFilter))),
    }
    IP_RECEIVED: "IPv4 packets received." {
        id: "ip_received",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::IpInReceives))),
    }
    IP_SENT: "IPv4 packets that this host asked to send." {
        id: "ip_sent",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::IpOutRequests))),
    }
    IP_FORWARDED: "IPv4 packets forwarded." {
        id: "ip_forwarded",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::IpForwDatagrams))),
    }
    IP6_FORWARDED: "IPv6 packets forwarded." {
        id: "ip6_forwarded",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::Ip6OutForwDatagrams))),
    }
    IP6_RECEIVED: "IPv6 packets received." {
        id: "ip6_received",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::Ip6InReceives))),
    }
    IP6_SENT: "IPv6 packets that this host asked to send." {
        id: "ip6_sent",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::Ip6OutRequests))),
    }
}

fn ip6_routeless(window: &Window, rows: &mut Vec<Amount>) {
    let speaks_ipv6 = |netns: &Netns| {
        let state = window
            .now
            .namespaces
            .iter()
            .find(|state| state.netns == *netns);
        state.is_some_and(|state| {
            state
                .routes
                .iter()
                .any(|route| route.v6 && !route.destination.is_some_and(is_of_the_link))
        })
    };
    let moved = window
        .mib(Mib::Ip6OutNoRoutes)
        .filter(|(netns, _)| speaks_ipv6(netns));
    rows.extend(moved.map(|(netns, delta)| Amount {
        scope: Scope::netns(netns),
        delta,
    }));
}

/// Networks that every interface has by itself.
fn is_of_the_link(network: IpAddr) -> bool {
    match network {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    }
}
