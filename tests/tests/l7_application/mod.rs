//! Faults of applications, and of those that they ask.

mod application_slow;
mod application_stalled;
mod cpu_starved;
mod dependency_slow;
mod dns;
mod dns_failing;
mod dns_slow;
mod dns_timeout;
mod exchanges;
mod http;
mod http_errors;
mod http_load;
mod http_slow;
mod real_servers;
mod slow_wire;
