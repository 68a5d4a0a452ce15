//! The last hop: the fault map becomes text, lines of JSON, a screen.

pub mod text;

pub mod human;
