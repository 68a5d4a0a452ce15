//! Healthy hosts: nothing may open.

mod bulk;
mod connections;
mod elsewhere;
mod firewall;
mod icmp;
mod idle;
mod minute;
mod restart;
mod wire;
