//! What a scenario that passes has to say: which window named the fault, and the figures that were held against each other.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

/// Says it on standard output, with the scenario's name. Not by `println!`: the test harness would swallow it.
pub fn say(kind: &str, text: &str) -> io::Result<()> {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a scenario");
    io::stdout().write_all(format!("{kind}: {test}: {text}\n").as_bytes())
}

/// Adds to a file that whoever started the tests reads, and makes it where there is none.
pub fn append(path: &Path, text: &[u8]) -> Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text))
        .with_context(|| format!("cannot append to {}", path.display()))
}
