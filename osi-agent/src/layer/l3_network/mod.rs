//! L3: packets without a route or a hop, packet filters, headers, fragments.

use super::Topic;

pub mod fragments;

pub mod headers;

pub mod hops;

pub mod netfilter;

pub mod routes;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] = &[
    routes::SIGNALS,
    hops::SIGNALS,
    headers::SIGNALS,
    netfilter::SIGNALS,
    fragments::SIGNALS,
];
