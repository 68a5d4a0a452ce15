//! L1: what breaks on the wire.

use super::Cause;

mod counters;

pub(super) mod cloud_allowance_exceeded;

pub(super) mod link_degraded;

pub(super) mod link_down;

pub(super) mod link_errors;

pub(super) mod link_microburst;

pub(super) mod link_saturated;

pub(super) mod rx_backlog_overflow;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &link_down::LINK_DOWN,
    &link_degraded::LINK_DEGRADED,
    &link_errors::LINK_ERRORS,
    &link_saturated::LINK_SATURATED,
    &link_microburst::LINK_MICROBURST,
    &cloud_allowance_exceeded::CLOUD_ALLOWANCE_EXCEEDED,
    &rx_backlog_overflow::RX_BACKLOG_OVERFLOW,
];
