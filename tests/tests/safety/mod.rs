//! What the agent must not leave behind, and how it answers bad input.

mod bounded;
mod clocks;
mod cost;
mod damaged;
mod doctor;
mod foreign;
mod frames;
mod kernel_memory;
mod leftovers;
mod limits;
mod messages;
mod missed;
mod paused;
mod privileges;
mod read_only;
mod reborn;
mod reused;
mod ring;
mod startup;
mod stream;
mod usage;
