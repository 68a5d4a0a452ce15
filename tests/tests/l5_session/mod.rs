//! Faults of established connections, and of what holds them.

mod accept_wait;
mod close_wait_leak;
mod file_descriptors_exhausted;
mod session_lifetime;
mod sessions_reset;
mod sessions_timed_out;
