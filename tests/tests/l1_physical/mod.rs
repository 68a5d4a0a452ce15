//! Faults of links.

mod interface_added;
mod link_degraded;
mod link_down;
mod link_microburst;
mod link_saturated;
mod rx_backlog_overflow;
