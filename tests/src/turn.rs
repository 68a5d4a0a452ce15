//! Who may use the machine: most tests share it, those that saturate it run alone.
//!
//! Namespaces separate hosts, not CPUs: all of them share each CPU's receive backlog,
//! so that a stream at full speed in one test makes datagrams vanish in another.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::Result;

use crate::hidden::Watch;
use crate::report;

static MACHINE: RwLock<()> = RwLock::new(());

/// Held while a test runs.
#[derive(Debug)]
pub struct Turn {
    test: String,
    hidden: Option<(Watch, OsString)>,
    _machine: Machine,
}

/// What a turn is of.
#[derive(Debug)]
enum Machine {
    /// Beside other tests.
    Shared { _lock: RwLockReadGuard<'static, ()> },
    /// While no other test of this process runs.
    Alone {
        _lock: RwLockWriteGuard<'static, ()>,
    },
}

impl Turn {
    /// Waits until no test has the machine alone.
    pub fn shared(test: &str) -> Self {
        // A test that failed poisons the lock; it guards no data.
        let lock = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        Self::begin(test, Machine::Shared { _lock: lock })
    }

    /// Waits until no test uses the machine.
    pub fn alone(test: &str) -> Self {
        let lock = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        Self::begin(test, Machine::Alone { _lock: lock })
    }

    /// Where `OSI_HIDDEN_LOG` names a file, what the kernel hides from programs meanwhile is written there.
    fn begin(test: &str, machine: Machine) -> Self {
        let hidden = std::env::var_os("OSI_HIDDEN_LOG").and_then(|log| match Watch::begin() {
            Ok(watch) => Some((watch, log)),
            Err(error) => {
                eprintln!("it is not known what this kernel hides from programs: {error:#}");
                None
            }
        });
        Self {
            test: test.to_owned(),
            hidden,
            _machine: machine,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((watch, log)) = self.hidden.take()
            && let Err(error) = note(&watch, &log, &self.test)
        {
            eprintln!("what the kernel hid from programs is not noted: {error:#}");
        }
    }
}

/// A line `hidden: <test>: <count>` for the runner, which repeats what failed for it.
fn note(watch: &Watch, log: &OsString, test: &str) -> Result<()> {
    let hidden = watch.hidden()?;
    if hidden == 0 {
        return Ok(());
    }
    let line = format!("hidden: {test}: {hidden}\n");
    report::append(Path::new(log), line.as_bytes())
}
