//! Faults of connections.

mod accept_queue_overflow;
mod checksum_errors;
mod connection_refused;
mod conntrack_table_full;
mod ephemeral_ports_exhausted;
mod handshake_latency;
mod handshake_slow;
mod handshake_timeout;
mod listener_owner;
mod many_sockets;
mod nat_ports_exhausted;
mod no_listener;
mod packet_loss;
mod peer_not_reading;
mod proxy_ports;
mod receive_buffer_overflow;
mod round_trip;
mod syn_queue_overflow;
mod tcp_memory_pressure;
mod time_wait_table_full;
mod udp_ports;
