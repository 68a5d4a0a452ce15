//! L6: how connections are secured.

use super::Topic;

pub mod ktls;

pub mod plaintext;

pub mod quic;

pub mod tls;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] = &[
    tls::SIGNALS,
    quic::SIGNALS,
    plaintext::SIGNALS,
    ktls::SIGNALS,
];
