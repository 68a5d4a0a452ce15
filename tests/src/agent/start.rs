//! On a slow machine agents start one after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::scale;

static STARTING: Mutex<()> = Mutex::new(());

/// Held while an agent starts: the kernel looks at every program, and on a slow machine some that start at a time would all be late.
pub(super) fn turn() -> Option<MutexGuard<'static, ()>> {
    // A test that failed poisons the lock; it guards no data.
    let turn = || STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    scale::is_slow().then(turn)
}
