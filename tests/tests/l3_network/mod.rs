//! Faults of routing and filtering.

mod exact_drops;
mod no_route;
mod packet_filtered;
mod reverse_path_filtered;
mod routing_loop;
