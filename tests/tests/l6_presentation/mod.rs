//! Faults of TLS, and handshakes that are none.

mod ktls;
mod plaintext_on_tls_port;
mod quic;
mod quic_unanswered;
mod tls;
mod tls_handshake_failed;
mod tls_handshake_slow;
mod tls_paths;
