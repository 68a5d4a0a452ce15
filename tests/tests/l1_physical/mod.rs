//! Faults of links.

mod link_down;
mod link_saturated;
