//! What became of the connections that a load made.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::Result;
use hdrhistogram::Histogram;

/// What became of the connections.
#[derive(Debug)]
pub struct Report {
    /// Connections that were established.
    pub connected: u64,
    /// Exchanges that came to their end.
    pub completed: u64,
    /// Failures by error number; time-outs of this generator itself count as ETIMEDOUT.
    pub errors: BTreeMap<i32, u64>,
    /// When the first connect failed.
    pub first_error: Option<SystemTime>,
    /// Nanoseconds from connect to connected.
    pub connect_ns: Histogram<u64>,
}

impl Report {
    pub(super) fn empty() -> Result<Self> {
        Ok(Self {
            connected: 0,
            completed: 0,
            errors: BTreeMap::new(),
            first_error: None,
            connect_ns: Histogram::new(3)?,
        })
    }

    /// How often an error number was met.
    pub fn errors_of(&self, errno: i32) -> u64 {
        self.errors.get(&errno).copied().unwrap_or(0)
    }

    pub(super) fn fail(&mut self, error: &std::io::Error) {
        // The standard library's connect time-out carries no errno.
        let errno = error.raw_os_error().unwrap_or(libc::ETIMEDOUT);
        *self.errors.entry(errno).or_default() += 1;
        self.first_error.get_or_insert_with(SystemTime::now);
    }

    pub(super) fn add(&mut self, other: &Self) -> Result<()> {
        let Self {
            connected,
            completed,
            errors,
            first_error,
            connect_ns,
        } = other;
        self.connected += connected;
        self.completed += completed;
        for (errno, count) in errors {
            *self.errors.entry(*errno).or_default() += count;
        }
        self.first_error = [self.first_error, *first_error].into_iter().flatten().min();
        self.connect_ns.add(connect_ns)?;
        Ok(())
    }
}
