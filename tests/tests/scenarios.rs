//! The scenarios: real faults on hosts of the lab, and what the agent says about them.
//!
//! One binary, so that it is linked once; one module per layer, one for what goes through several, then what must stay calm and what must stay safe.
//! Each scenario says when the kernel's first evidence appears, since the agent's allowance of windows is counted from there.

mod lab;

mod cascades;
mod l1_physical;
mod l2_data_link;
mod l3_network;
mod l4_transport;
mod l5_session;
mod l6_presentation;
mod l7_application;

mod controls;
mod safety;
