//! L4: what breaks between two ends.

use super::Cause;

pub(super) mod accept_queue_overflow;

pub(super) mod checksum_errors;

pub(super) mod connection_refused;

pub(super) mod conntrack_table_full;

pub(super) mod ephemeral_ports_exhausted;

pub(super) mod handshake_slow;

pub(super) mod handshake_timeout;

pub(super) mod nat_ports_exhausted;

pub(super) mod no_listener;

pub(super) mod packet_loss;

pub(super) mod peer_not_reading;

mod port_holders;

pub(super) mod receive_buffer_overflow;

pub(super) mod syn_queue_overflow;

pub(super) mod tcp_memory_pressure;

pub(super) mod time_wait_table_full;

mod udp_ports;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &ephemeral_ports_exhausted::EPHEMERAL_PORTS_EXHAUSTED,
    &accept_queue_overflow::ACCEPT_QUEUE_OVERFLOW,
    &syn_queue_overflow::SYN_QUEUE_OVERFLOW,
    &no_listener::NO_LISTENER,
    &connection_refused::CONNECTION_REFUSED,
    &handshake_timeout::HANDSHAKE_TIMEOUT,
    &handshake_slow::HANDSHAKE_SLOW,
    &packet_loss::PACKET_LOSS,
    &conntrack_table_full::CONNTRACK_TABLE_FULL,
    &nat_ports_exhausted::NAT_PORTS_EXHAUSTED,
    &time_wait_table_full::TIME_WAIT_TABLE_FULL,
    &tcp_memory_pressure::TCP_MEMORY_PRESSURE,
    &receive_buffer_overflow::RECEIVE_BUFFER_OVERFLOW,
    &checksum_errors::CHECKSUM_ERRORS,
    &peer_not_reading::PEER_NOT_READING,
];
