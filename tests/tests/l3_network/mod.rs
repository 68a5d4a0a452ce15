//! Faults of routing and filtering.

mod destination_unreachable;
mod exact_drops;
mod forwarding;
mod ip_header_errors;
mod ipv6_broken;
mod mtu_black_hole;
mod no_route;
mod packet_filtered;
mod packet_processing_saturated;
mod reassembly_failed;
mod reverse_path_filtered;
mod routing_loop;
mod tunnel_or_ipsec_drops;
