//! L4: ports, handshakes, queues, retransmits, resets, memory.

use super::Topic;

pub mod buffers;

pub mod checksums;

pub mod conntrack;

pub mod handshake;

pub mod memory;

pub mod ports;

pub mod queues;

pub mod resets;

pub mod retransmit;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] = &[
    ports::SIGNALS,
    handshake::SIGNALS,
    queues::SIGNALS,
    retransmit::SIGNALS,
    resets::SIGNALS,
    memory::SIGNALS,
    buffers::SIGNALS,
    checksums::SIGNALS,
    conntrack::SIGNALS,
];
