//! L7: what applications do with their connections, and how their names are resolved.

use super::Topic;

pub mod cpu;

pub mod dns;

pub mod http;

pub mod exchange;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] =
    &[exchange::SIGNALS, dns::SIGNALS, http::SIGNALS, cpu::SIGNALS];
