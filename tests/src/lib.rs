//! The lab: hosts and routers made of network namespaces, real servers and clients, faults, and the agent under test.
//!
//! Reading order: a host (`netns`), hosts wired together (`topology`), what breaks them (`link`, `tc`, `nft`, `delay`, `frame`, `advertise`),
//! what runs on them (`server`, `daemon`, `lab_program`, `proxy`, `resolver`, `http`, `secure`, `quic`, `real`, `load`, `knock`), what the kernel itself counted and holds (`counters`, `bpf`, `processes`), what limits it (`cgroup`, `machine`), who else is there (`foreign`), a program on its own (`program`), an empty one (`twin`), one way of several (`variant`),
//! and the agent with what it said (`agent`, `stream`, `grid`, `expect`).
//!
//! Everything the lab makes carries the id of the process that made it, is removed when its owner is dropped,
//! and is swept by the next run if that process was killed.

pub mod netns;
pub mod topology;

pub mod advertise;
pub mod delay;
pub mod frame;
pub mod in_turn;
pub mod kernel;
pub mod link;
pub mod machine;
pub mod nft;
pub mod tc;

pub mod daemon;
pub mod http;
pub mod knock;
pub mod lab_program;
pub mod load;
pub mod proxy;
pub mod quic;
pub mod real;
pub mod resolver;
pub mod secure;
pub mod server;
pub mod socket_option;
pub mod unread;
pub mod variant;

pub mod bpf;
pub mod capture;
pub mod cgroup;
pub mod counters;
pub mod cpu;
pub mod foreign;
pub mod hidden;
pub mod processes;
pub mod program;

pub mod agent;
pub mod expect;
pub mod grid;
pub mod report;
pub mod schema;
pub mod stream;
pub mod transcript;

pub mod command;
pub mod scale;
pub mod skip;
pub mod turn;
pub mod twin;
pub mod wait;
