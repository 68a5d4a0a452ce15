//! The scenarios: real faults on hosts of the lab, and what the agent says about them.
//!
//! One binary, so that it is linked once; one module per layer, then what must stay calm and what must stay safe.

mod lab;
