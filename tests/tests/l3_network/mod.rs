//! Faults of routing and filtering.

mod exact_drops;
mod no_route;
mod packet_filtered;
