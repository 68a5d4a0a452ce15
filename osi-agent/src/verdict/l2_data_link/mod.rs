//! L2: what breaks between the stack and the wire.

use super::Cause;

pub(super) mod datapath_program_drops;

pub(super) mod duplicate_address;

pub(super) mod egress_queue_overflow;

pub(super) mod frames_rejected;

pub(super) mod neighbor_table_full;

pub(super) mod neighbor_unreachable;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &neighbor_unreachable::NEIGHBOR_UNREACHABLE,
    &neighbor_table_full::NEIGHBOR_TABLE_FULL,
    &duplicate_address::DUPLICATE_ADDRESS,
    &egress_queue_overflow::EGRESS_QUEUE_OVERFLOW,
    &frames_rejected::FRAMES_REJECTED,
    &datapath_program_drops::DATAPATH_PROGRAM_DROPS,
];
