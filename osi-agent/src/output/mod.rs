//! The last hop: the fault map becomes lines of JSON, blocks of text, a screen.
//!
//! Everything here takes values and returns bytes or drawings. Two threads touch the world: [`stdout::Stdout`], which
//! writes whole lines, and [`tui::Tui`], which owns the terminal. Neither ever makes the loop wait.
//! Text from outside is made safe where it is printed: [`text::safe`], [`glyphs::Glyphs::text`], and JSON's own escapes.

pub mod json;

pub mod plain;

pub mod tui;

pub mod doctor;

pub mod explain;

pub mod stdout;

pub mod words;

pub mod glyphs;

pub mod human;

pub mod text;

pub mod width;

#[cfg(test)]
mod fixture;
