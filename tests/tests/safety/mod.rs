//! What the agent must not leave behind, and how it answers bad input.

mod doctor;
mod leftovers;
mod stream;
mod usage;
