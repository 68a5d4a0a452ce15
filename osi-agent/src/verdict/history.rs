//! To be written.

/// What outlives a window.
#[derive(Debug, Default)]
pub struct History {}
