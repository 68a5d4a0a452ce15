//! Healthy hosts: nothing may open.

mod bulk;
mod connections;
mod elsewhere;
mod idle;
mod restart;
