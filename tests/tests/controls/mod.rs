//! Healthy hosts: nothing may open.

mod bulk;
mod connections;
mod elsewhere;
mod firewall;
mod http;
mod icmp;
mod idle;
mod minute;
mod order;
mod restart;
mod sessions;
mod wire;
