//! What the two processes say to each other: one JSON object a line, over a socket pair.

use std::io::{self, BufRead, Read as _, Write};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::probe::own::Usage;
use crate::snapshot::Wanted;
use crate::snapshot::sampler::HostSample;

/// Longest line, in bytes: many times what the most namespaces that are read take.
const LONGEST: u64 = 256 << 20;

/// One pass over the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// Counts up; the reply has the same.
    pub(super) number: u64,
    /// What it may take.
    pub(super) length: Duration,
    /// Inodes of the namespaces whose rule sets are to be read.
    pub(super) filtered: Vec<u32>,
    /// Whose holders are to be found.
    pub(super) wanted: Wanted,
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The request's.
    pub(super) number: u64,
    /// What was read.
    pub(super) sample: HostSample,
    /// What the helper costs.
    pub(super) usage: Usage,
}

/// Says one thing.
pub(crate) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Waits for one thing to be said; `None` when the other end is closed. `line` is room to read into.
pub(super) fn receive<T: DeserializeOwned>(
    from: &mut impl BufRead,
    line: &mut Vec<u8>,
) -> io::Result<Option<T>> {
    line.clear();
    from.take(LONGEST).read_until(b'\n', line)?;
    if line.is_empty() {
        return Ok(None);
    }
    parse(line).map(Some)
}

/// One line.
pub(crate) fn parse<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(line)?)
}
