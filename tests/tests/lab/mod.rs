//! The lab proves itself, without the agent: each fault really happens, and the kernel counts it as the scenarios expect.

mod faults;
mod hosts;
mod programs;
mod wire;
