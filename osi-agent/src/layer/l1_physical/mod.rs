//! L1: links, how full and how faulty they are, and the queue in front of the stack on each CPU.

use super::Topic;

pub mod driver;

pub mod errors;

pub mod link;

pub mod softnet;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] = &[
    link::SIGNALS,
    errors::SIGNALS,
    driver::SIGNALS,
    softnet::SIGNALS,
];
