//! Processes that may run short of something.

use serde::{Deserialize, Serialize};

use crate::scope::Process;

/// A process that has at least half of its descriptors in use (`/proc/PID/fd`, `/proc/PID/limits`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFiles {
    /// Which.
    pub process: Process,
    /// Inode of its network namespace, 0 when not known.
    pub netns: u32,
    /// Descriptors in use.
    pub used: u64,
    /// At so many the next one is refused with EMFILE (`RLIMIT_NOFILE`, the soft limit).
    pub limit: u64,
}

impl OpenFiles {
    /// Whether the next descriptor is refused.
    pub const fn is_full(&self) -> bool {
        self.used >= self.limit
    }
}
