//! L4: ports, handshakes, queues, retransmits, resets, memory.

use super::Topic;

pub mod aborts;

pub mod buffers;

pub mod checksums;

pub mod conntrack;

pub mod failures;

pub mod fast_open;

pub mod handshake;

pub mod memory;

pub mod order;

pub mod ports;

pub mod queues;

pub mod recovery;

pub mod resets;

pub mod retransmit;

pub mod round_trip;

pub mod window_control;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] = &[
    ports::SIGNALS,
    handshake::SIGNALS,
    fast_open::SIGNALS,
    queues::SIGNALS,
    retransmit::SIGNALS,
    recovery::SIGNALS,
    order::SIGNALS,
    round_trip::SIGNALS,
    window_control::SIGNALS,
    resets::SIGNALS,
    aborts::SIGNALS,
    memory::SIGNALS,
    buffers::SIGNALS,
    checksums::SIGNALS,
    conntrack::SIGNALS,
];
