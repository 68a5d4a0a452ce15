//! Who may use the machine: most tests share it, those that saturate it run alone.
//!
//! Namespaces separate hosts, not CPUs: all of them share each CPU's receive backlog,
//! so that a stream at full speed in one test makes datagrams vanish in another.
//!
//! Until a test has the machine alone, those that use it must end, and nobody may begin: much waiting for one. So those that want
//! it alone wait for each other, and have it one after the other.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::hidden::Watch;
use crate::report;

/// So many tests share the machine at most, however many threads there are.
const BESIDE: usize = 4;
/// Once so many wait to have it alone, it is emptied for them.
const ENOUGH: usize = 4;

static MACHINE: Mutex<Users> = Mutex::new(Users::NONE);
static CHANGED: Condvar = Condvar::new();

/// Who uses the machine, and who wants to.
#[derive(Debug)]
struct Users {
    sharing: usize,
    alone: bool,
    want_to_share: usize,
    want_alone: usize,
    /// Nobody begins to share it until nobody wants it alone.
    emptied: bool,
}

impl Users {
    const NONE: Self = Self {
        sharing: 0,
        alone: false,
        want_to_share: 0,
        want_alone: 0,
        emptied: false,
    };

    fn may_share(&self) -> bool {
        !self.alone && !self.emptied && self.sharing < BESIDE
    }

    fn may_be_alone(&self) -> bool {
        !self.alone && self.sharing == 0 && (self.emptied || self.want_to_share == 0)
    }
}

/// Held while a test runs.
#[derive(Debug)]
pub struct Turn {
    test: String,
    hidden: Option<(Watch, OsString)>,
    _machine: Machine,
}

/// What a turn is of; given back when it is dropped.
#[derive(Debug)]
enum Machine {
    /// Beside other tests.
    Shared,
    /// While no other test of this process runs.
    Alone,
}

impl Machine {
    fn shared() -> Self {
        let mut users = users();
        users.want_to_share += 1;
        users = wait_until(users, Users::may_share);
        users.want_to_share -= 1;
        users.sharing += 1;
        Self::Shared
    }

    fn alone() -> Self {
        let mut users = users();
        users.want_alone += 1;
        users.emptied |= users.want_alone >= ENOUGH;
        users = wait_until(users, Users::may_be_alone);
        users.want_alone -= 1;
        users.emptied &= users.want_alone > 0;
        users.alone = true;
        Self::Alone
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let mut users = users();
        match self {
            Self::Shared => users.sharing -= 1,
            Self::Alone => users.alone = false,
        }
        drop(users);
        CHANGED.notify_all();
    }
}

fn users() -> MutexGuard<'static, Users> {
    // Nothing that is done while it is held can fail.
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_until(
    users: MutexGuard<'static, Users>,
    may: impl Fn(&Users) -> bool,
) -> MutexGuard<'static, Users> {
    // Who begins to want something may be what others wait for, or for whom they wait no more.
    CHANGED.notify_all();
    let waited = CHANGED.wait_while(users, |users| !may(users));
    waited.unwrap_or_else(PoisonError::into_inner)
}

impl Turn {
    /// Waits until no test has the machine alone, and few share it.
    pub fn shared(test: &str) -> Self {
        Self::begin(test, Machine::shared())
    }

    /// Waits until no test uses the machine.
    pub fn alone(test: &str) -> Self {
        Self::begin(test, Machine::alone())
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
