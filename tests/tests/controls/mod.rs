//! Healthy hosts: nothing may open.

mod bulk;
mod connections;
mod elsewhere;
mod firewall;
mod icmp;
mod idle;
mod restart;
mod wire;
