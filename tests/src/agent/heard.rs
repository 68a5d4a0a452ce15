//! What the agent says, taken in by a thread for each of its outputs.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Error, Result};

use crate::schema;
use crate::stream::Line;

/// Standard output and standard error.
pub(super) const OUTPUTS: usize = 2;

/// What the reader threads have heard so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) lines: Vec<Line>,
    /// The first line that was no valid line of the contract.
    pub(super) broken: Option<String>,
    pub(super) stderr: String,
    /// Its outputs that came to an end; it may still have complained when the first one did.
    pub(super) ended: usize,
}

impl Heard {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listen(&self, stdout: impl Read) {
        for line in BufReader::new(stdout).lines() {
            let parsed = line.map_err(Error::from).and_then(|text| parse(&text));
            let mut state = self.lock();
            match parsed {
                Ok(line) => state.lines.push(line),
                Err(error) => {
                    state.broken.get_or_insert_with(|| format!("{error:#}"));
                }
            }
            self.changed.notify_all();
        }
        self.end();
    }

    fn end(&self) {
        self.lock().ended += 1;
        self.changed.notify_all();
    }

    pub(super) fn overhear(&self, stderr: impl Read) {
        for line in BufReader::new(stderr)
            .lines()
            .map_while(std::result::Result::ok)
        {
            let mut state = self.lock();
            state.stderr.push_str(&line);
            state.stderr.push('\n');
        }
        self.end();
    }
}

fn parse(text: &str) -> Result<Line> {
    let value =
        serde_json::from_str(text).with_context(|| format!("this line is no JSON: {text}"))?;
    schema::check(&value).with_context(|| format!("this line breaks the contract: {text}"))?;
    Ok(Line::new(value))
}
