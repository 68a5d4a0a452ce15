//! L5: what breaks established connections, and what lets no more of them be made.

use super::Cause;

pub(super) mod close_wait_leak;

mod ends;

pub(super) mod file_descriptors_exhausted;

pub(super) mod sessions_reset;

pub(super) mod sessions_timed_out;

/// This layer's causes.
pub(super) static CAUSES: &[&Cause] = &[
    &file_descriptors_exhausted::FILE_DESCRIPTORS_EXHAUSTED,
    &sessions_reset::SESSIONS_RESET,
    &sessions_timed_out::SESSIONS_TIMED_OUT,
    &close_wait_leak::CLOSE_WAIT_LEAK,
];
