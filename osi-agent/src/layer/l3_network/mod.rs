//! L3: packets without a route, packet filters, fragments.

use super::Topic;

pub mod fragments;

pub mod netfilter;

pub mod routes;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] = &[routes::SIGNALS, netfilter::SIGNALS, fragments::SIGNALS];
