//! L2: what breaks between the stack and the wire.

use super::Cause;

pub(super) mod egress_queue_overflow;

pub(super) mod neighbor_unreachable;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &neighbor_unreachable::NEIGHBOR_UNREACHABLE,
    &egress_queue_overflow::EGRESS_QUEUE_OVERFLOW,
];
