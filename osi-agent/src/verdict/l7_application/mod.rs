//! L7: what breaks in the applications themselves, and in those that they ask.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Cause;
use super::text::{inside, local, remote};
use crate::scope::{Scope, ScopeKind};

pub(super) mod application_slow;

pub(super) mod application_stalled;

pub(super) mod cpu_starved;

pub(super) mod dependency_slow;

pub(super) mod dns_failing;

pub(super) mod dns_slow;

pub(super) mod dns_timeout;

pub(super) mod http_errors;

pub(super) mod http_slow;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &application_stalled::APPLICATION_STALLED,
    &application_slow::APPLICATION_SLOW,
    &dependency_slow::DEPENDENCY_SLOW,
    &cpu_starved::CPU_STARVED,
    &dns_failing::DNS_FAILING,
    &dns_timeout::DNS_TIMEOUT,
    &dns_slow::DNS_SLOW,
    &http_errors::HTTP_ERRORS,
    &http_slow::HTTP_SLOW,
];

/// The command that asks a resolver.
fn dig(address: IpAddr, port: u16, question: &str) -> String {
    format!("dig @{address} -p {port} +tries=1 +timeout=2 {question}")
}

/// The server of HTTP requests, which this host asks or is.
fn whom(scope: &Scope) -> String {
    if scope.kind == ScopeKind::Listener {
        format!("the application at {}", listener(scope))
    } else {
        remote(scope)
    }
}

/// The command that asks such a server and shows the status and the time until its answer begins.
fn curl(scope: &Scope) -> String {
    let known = scope.remote.or(scope.local);
    let address = match known.filter(|address| !address.is_unspecified()) {
        Some(address) => address,
        None => Ipv4Addr::LOCALHOST.into(),
    };
    let server = SocketAddr::new(address, scope.port.unwrap_or_default());
    let ask = "curl -sS -m 4 -o /dev/null -w '%{http_code} %{time_starttransfer}\\n'";
    inside(scope, &format!("{ask} http://{server}/"))
}

/// A listener by its address, or by its port alone where several addresses have it.
fn listener(scope: &Scope) -> String {
    scope.local.map_or_else(
        || format!("port {}", scope.port.unwrap_or_default()),
        |_| local(scope),
    )
}
