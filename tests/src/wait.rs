//! Waiting for what the kernel announces by no event: poll until a deadline, then say what was last seen.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};

use crate::scale;

const POLL: Duration = Duration::from_millis(5);

/// Polls until `probe` returns a value; the error names what was awaited.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let timeout = scale::patience(timeout);
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} in vain until {what}");
        }
        std::thread::sleep(POLL);
    }
}

/// Polls a counter until it exceeds `floor`; returns the moment at which that was first seen.
pub fn until_above(
    what: &str,
    floor: u64,
    timeout: Duration,
    mut read: impl FnMut() -> Result<u64>,
) -> Result<SystemTime> {
    until(&format!("{what} exceeds {floor}"), timeout, || {
        Ok((read()? > floor).then(SystemTime::now))
    })
}
