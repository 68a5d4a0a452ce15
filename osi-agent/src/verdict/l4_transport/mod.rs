//! L4: what breaks between two ends.

use super::Cause;

pub(super) mod accept_queue_overflow;

pub(super) mod connection_refused;

pub(super) mod ephemeral_ports_exhausted;

pub(super) mod handshake_timeout;

pub(super) mod packet_loss;

mod port_holders;

mod udp_ports;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &ephemeral_ports_exhausted::EPHEMERAL_PORTS_EXHAUSTED,
    &accept_queue_overflow::ACCEPT_QUEUE_OVERFLOW,
    &connection_refused::CONNECTION_REFUSED,
    &handshake_timeout::HANDSHAKE_TIMEOUT,
    &packet_loss::PACKET_LOSS,
];
