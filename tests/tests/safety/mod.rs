//! What the agent must not leave behind, and how it answers bad input.

mod doctor;
mod foreign;
mod frames;
mod leftovers;
mod paused;
mod stream;
mod usage;
