//! L1: what breaks on the wire.

use super::Cause;

pub(super) mod link_down;

pub(super) mod link_microburst;

pub(super) mod link_saturated;

pub(super) mod rx_backlog_overflow;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &link_down::LINK_DOWN,
    &link_saturated::LINK_SATURATED,
    &link_microburst::LINK_MICROBURST,
    &rx_backlog_overflow::RX_BACKLOG_OVERFLOW,
];
