//! osi-agent answers one question on a Linux host: which layer broke?
//!
//! The modules stand in the order of the data path: hook → map, map → value, value → layer model, layer model → verdict, verdict → output.

pub mod probe;

pub mod host;

pub mod scope;

pub mod snapshot;

pub mod helper;

pub mod layer;

pub mod verdict;

pub mod event;

pub mod output;

pub mod config;

pub mod run;

pub mod sandbox;

#[doc(hidden)]
pub mod fuzz;
