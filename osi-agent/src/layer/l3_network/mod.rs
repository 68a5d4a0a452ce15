//! L3: packets without a route or a hop, what ICMP says of them, packet filters, headers, fragments, and the time that it all takes.

use super::Topic;

pub mod forwarding;

pub mod fragments;

pub mod headers;

pub mod hops;

pub mod icmp;

pub mod netfilter;

pub mod path_mtu;

pub mod processing;

pub mod routes;

pub mod tunnels;

pub mod xfrm;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] = &[
    routes::SIGNALS,
    hops::SIGNALS,
    headers::SIGNALS,
    icmp::SIGNALS,
    netfilter::SIGNALS,
    fragments::SIGNALS,
    path_mtu::SIGNALS,
    processing::SIGNALS,
    forwarding::SIGNALS,
    xfrm::SIGNALS,
    tunnels::SIGNALS,
];
