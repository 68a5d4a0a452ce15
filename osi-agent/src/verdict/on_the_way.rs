//! Faults of L1 to L3 that take packets of connections away: what L4 feels of the way, as one list for all who feel it.

use super::Cause;
use super::l1_physical::{
    cloud_allowance_exceeded::CLOUD_ALLOWANCE_EXCEEDED, link_down::LINK_DOWN,
    link_errors::LINK_ERRORS, link_microburst::LINK_MICROBURST, link_saturated::LINK_SATURATED,
    rx_backlog_overflow::RX_BACKLOG_OVERFLOW,
};
use super::l2_data_link::{
    datapath_program_drops::DATAPATH_PROGRAM_DROPS, duplicate_address::DUPLICATE_ADDRESS,
    egress_queue_overflow::EGRESS_QUEUE_OVERFLOW, neighbor_table_full::NEIGHBOR_TABLE_FULL,
    neighbor_unreachable::NEIGHBOR_UNREACHABLE,
};
use super::l3_network::{
    destination_unreachable::DESTINATION_UNREACHABLE, ip_header_errors::IP_HEADER_ERRORS,
    ipv6_broken::IPV6_BROKEN, mtu_black_hole::MTU_BLACK_HOLE, no_route::NO_ROUTE,
    packet_filtered::PACKET_FILTERED, reverse_path_filtered::REVERSE_PATH_FILTERED,
    routing_loop::ROUTING_LOOP, tunnel_or_ipsec_drops::TUNNEL_OR_IPSEC_DROPS,
};
use super::l4_transport::{
    conntrack_table_full::CONNTRACK_TABLE_FULL, nat_ports_exhausted::NAT_PORTS_EXHAUSTED,
    packet_loss::PACKET_LOSS, receive_buffer_overflow::RECEIVE_BUFFER_OVERFLOW,
};

/// Faults of L4 that take a question of UDP or its answer away.
pub(super) static DATAGRAMS_LOST: &[&Cause] = &[
    &PACKET_LOSS,
    &CONNTRACK_TABLE_FULL,
    &NAT_PORTS_EXHAUSTED,
    &RECEIVE_BUFFER_OVERFLOW,
];

pub(super) static ON_THE_WAY: &[&Cause] = &[
    &LINK_DOWN,
    &LINK_ERRORS,
    &LINK_SATURATED,
    &LINK_MICROBURST,
    &CLOUD_ALLOWANCE_EXCEEDED,
    &RX_BACKLOG_OVERFLOW,
    &EGRESS_QUEUE_OVERFLOW,
    &DATAPATH_PROGRAM_DROPS,
    &NEIGHBOR_TABLE_FULL,
    &NEIGHBOR_UNREACHABLE,
    &DUPLICATE_ADDRESS,
    &NO_ROUTE,
    &IPV6_BROKEN,
    &PACKET_FILTERED,
    &REVERSE_PATH_FILTERED,
    // A router answers a few packets a second and drops the rest of them silently.
    &ROUTING_LOOP,
    &DESTINATION_UNREACHABLE,
    &TUNNEL_OR_IPSEC_DROPS,
    &IP_HEADER_ERRORS,
    &MTU_BLACK_HOLE,
];
