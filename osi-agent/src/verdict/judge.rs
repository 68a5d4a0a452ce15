//! To be written.

/// Judges.
pub fn judge() {}
