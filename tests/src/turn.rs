//! Who may use the machine: most tests share it, those that saturate it run alone.
//!
//! Namespaces separate hosts, not CPUs: all of them share each CPU's receive backlog,
//! so that a stream at full speed in one test makes datagrams vanish in another.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// Held while a test runs.
#[derive(Debug)]
pub enum Turn {
    /// Beside other tests.
    Shared(RwLockReadGuard<'static, ()>),
    /// While no other test of this process runs.
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Turn {
    /// Waits until no test has the machine alone.
    pub fn shared() -> Self {
        // A test that failed poisons the lock; it guards no data.
        Self::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until no test uses the machine.
    pub fn alone() -> Self {
        Self::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner))
    }
}
