//! Registries of what the host has: network namespaces, interfaces, processes.

pub mod boot;

pub mod namespaces;

pub mod processes;

pub mod holders;

pub mod cgroups;

pub mod workload;

pub mod text;
