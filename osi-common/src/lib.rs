//! What crosses the kernel boundary: layers, the histogram grid, counters, ring records and drop reasons.
//!
//! `no_std`, integers only in shared structs, no dependency except `aya` (for `Pod`) under the feature `user`.
//! The eBPF programs and the agent compile the same definitions, so a layout can not drift between them.
#![no_std]

pub mod layer;

pub mod occurrence;

pub mod icmp;

pub mod interface;

pub mod handshake;

pub mod listener;

pub mod opener;

pub mod exchange;

pub mod wire;

pub mod dns;

pub mod http;

pub mod tls;

pub mod quic;

pub mod latency;

pub mod offsets;

pub mod histogram;

pub mod drop;

pub mod failure;

mod pod;
