//! L3: what breaks on the way from network to network.

use super::Cause;

pub(super) mod destination_unreachable;

pub(super) mod ip_header_errors;

pub(super) mod ipv6_broken;

pub(super) mod mtu_black_hole;

pub(super) mod no_route;

pub(super) mod packet_filtered;

pub(super) mod packet_processing_saturated;

pub(super) mod reassembly_failed;

pub(super) mod reverse_path_filtered;

pub(super) mod routing_loop;

pub(super) mod tunnel_or_ipsec_drops;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &no_route::NO_ROUTE,
    &packet_filtered::PACKET_FILTERED,
    &reverse_path_filtered::REVERSE_PATH_FILTERED,
    &routing_loop::ROUTING_LOOP,
    &reassembly_failed::REASSEMBLY_FAILED,
    &ip_header_errors::IP_HEADER_ERRORS,
    &ipv6_broken::IPV6_BROKEN,
    &destination_unreachable::DESTINATION_UNREACHABLE,
    &mtu_black_hole::MTU_BLACK_HOLE,
    &packet_processing_saturated::PACKET_PROCESSING_SATURATED,
    &tunnel_or_ipsec_drops::TUNNEL_OR_IPSEC_DROPS,
];
