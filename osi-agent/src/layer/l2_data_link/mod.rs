//! L2: queues in front of devices, neighbours, frames as the tc and XDP programs count them.

use super::Topic;

pub mod addresses;

pub mod bridge;

pub mod frames;

pub mod neighbour;

pub mod programs;

pub mod qdisc;

pub mod rejected;

pub mod sizes;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] = &[
    qdisc::SIGNALS,
    neighbour::SIGNALS,
    addresses::SIGNALS,
    bridge::SIGNALS,
    frames::SIGNALS,
    rejected::SIGNALS,
    programs::SIGNALS,
];
