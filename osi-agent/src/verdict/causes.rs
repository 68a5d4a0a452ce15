//! To be written.

/// All causes.
pub fn causes() -> impl Iterator<Item = &'static super::Cause> {
    [].into_iter()
}
