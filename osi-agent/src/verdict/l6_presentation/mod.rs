//! L6: clients and servers that do not agree on how to secure a connection, or take their time.

use super::Cause;
use super::text::remote;
use crate::scope::Scope;

pub(super) mod plaintext_on_tls_port;

pub(super) mod quic_unanswered;

pub(super) mod tls_handshake_failed;

pub(super) mod tls_handshake_slow;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &tls_handshake_failed::TLS_HANDSHAKE_FAILED,
    &tls_handshake_slow::TLS_HANDSHAKE_SLOW,
    &plaintext_on_tls_port::PLAINTEXT_ON_TLS_PORT,
    &quic_unanswered::QUIC_UNANSWERED,
];

/// `with` a server, or `at` a port.
fn whom(scope: &Scope) -> String {
    let word = scope.remote.map_or("at", |_| "with");
    format!("{word} {}", server(scope))
}

/// A server that this host asks, or its own port.
fn server(scope: &Scope) -> String {
    if scope.remote.is_some() {
        remote(scope)
    } else {
        format!("port {}", scope.port.unwrap_or_default())
    }
}

/// The command that tells how long a server takes over TCP: to take the connection, and to secure it.
fn time_over_tcp(to: &str) -> String {
    format!(
        "curl -sko /dev/null -m 3 -w 'connected after %{{time_connect}} s, secured after %{{time_appconnect}} s\\n' https://{to}/ || echo not within 3 s"
    )
}

/// Where a server is asked: one of this host where it listens, if that is one address.
fn target(scope: &Scope) -> String {
    let port = scope.port.unwrap_or_default();
    let listens = scope.local.filter(|address| !address.is_unspecified());
    match scope.remote.or(listens) {
        Some(address) => core::net::SocketAddr::new(address, port).to_string(),
        None => format!("localhost:{port}"),
    }
}
