//! Faults between neighbours on a link.

mod datapath_program_drops;
mod duplicate_address;
mod egress_queue_overflow;
mod frames;
mod frames_rejected;
mod neighbor_table_full;
mod neighbor_unreachable;

mod neighbour_resolution;
