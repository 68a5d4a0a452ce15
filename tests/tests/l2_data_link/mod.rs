//! Faults between neighbours on a link.

mod egress_queue_overflow;
mod frames;
mod neighbor_unreachable;
