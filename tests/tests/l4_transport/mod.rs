//! Faults of connections.

mod accept_queue_overflow;
mod connection_refused;
mod ephemeral_ports_exhausted;
mod handshake_latency;
mod handshake_timeout;
mod listener_owner;
mod many_sockets;
mod packet_loss;
mod proxy_ports;
mod udp_ports;
